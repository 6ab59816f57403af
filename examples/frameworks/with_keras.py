"""
Keras 3
=======

``compute_loss`` calls the loss on any backend that differentiates arrays of the library: JAX or PyTorch, set by the
environment variable ``KERAS_BACKEND``. Keras puts channels last.
"""

import keras
import numpy as np
from keras import layers

from dynamic_kd import DynamicKDLoss
from dynamic_kd.metrics import SODMetrics


class Distillation(keras.Model):
    """A student that learns from a frozen teacher."""

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher, self.criterion = student, teacher, DynamicKDLoss()
        teacher.trainable = False
        self.terms = {name: keras.metrics.Mean(name) for name in ("weight", "kl", "ce")}

    def call(self, images, training=None):
        return self.student(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        taught = keras.ops.stop_gradient(self.teacher(x, training=False))
        # Without their one channel, maps are (B, H, W).
        loss, terms = self.criterion.with_terms(y_pred[..., 0], taught[..., 0], y[..., 0])
        for name, mean in self.terms.items():
            mean.update_state(getattr(terms, name))
        return loss


class Scores(keras.callbacks.Callback):
    """Scores of the validation images at the end of an epoch."""

    def __init__(self, images, masks):
        super().__init__()
        self.images, self.masks = images, masks

    def on_epoch_end(self, epoch, logs=None):
        metrics = SODMetrics()
        maps = keras.ops.sigmoid(self.model.predict(self.images, verbose=0))
        metrics.update(keras.ops.convert_to_numpy(maps)[..., 0], self.masks[..., 0])
        logs |= {f"val_{name}": value for name, value in metrics.compute().items()}


# %%
# Stand-ins for your data and networks. The teacher averages its input.

masks = np.zeros((16, 32, 32, 1), "float32")
masks[:, 8:24, 8:24] = 1
images = masks + np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype("float32")
keras.utils.set_random_seed(0)
inputs = keras.Input((32, 32, 3))
student = keras.Model(inputs, layers.Conv2D(1, 5, padding="same")(inputs))
teacher = keras.Model(inputs, layers.Conv2D(1, 5, padding="same")(inputs))
teacher.set_weights([np.full((5, 5, 3, 1), 8 / 75), np.array([-4])])
model = Distillation(student, teacher)
model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
scores = Scores(images, masks)
history = model.fit(images, masks, batch_size=8, epochs=5, shuffle=False, callbacks=[scores])
print(f"maxF {history.history['val_maxF'][-1]:.3f}")
