"""
Flax NNX and Optax
==================

The loss is a function of arrays, so an epoch is one compiled ``scan`` over its batches. The terms come out of it
stacked, one row a step.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from dynamic_kd import DynamicKDLoss
from dynamic_kd.metrics import SODMetrics

# %%
# Stand-ins for your data and networks, channels last. The teacher averages its input.

masks = jnp.zeros((16, 32, 32)).at[:, 8:24, 8:24].set(1)
images = masks[..., None] + jax.random.normal(jax.random.key(0), (16, 32, 32, 3))
student = nnx.Conv(3, 1, (5, 5), rngs=nnx.Rngs(0))
teacher = nnx.Conv(3, 1, (5, 5), rngs=nnx.Rngs(0))
teacher.kernel[...], teacher.bias[...] = jnp.full((5, 5, 3, 1), 8 / 75), jnp.full(1, -4)

# %%
# A map has one channel, so dropping the last axis leaves (B, H, W), which the loss takes. Gradients flow to the student
# alone, because ``value_and_grad`` differentiates with respect to it.

criterion = DynamicKDLoss()
optimizer = nnx.Optimizer(student, optax.sgd(0.01, momentum=0.9), wrt=nnx.Param)


@nnx.jit
@nnx.scan(in_axes=(nnx.Carry, None, 0, 0), out_axes=(nnx.Carry, 0))
def epoch(training, teacher, images, masks):
    def loss(student):
        logits = student(images)[..., 0]
        return criterion.with_terms(logits, teacher(images)[..., 0], masks)

    student, optimizer = training
    (_, terms), gradient = nnx.value_and_grad(loss, has_aux=True)(student)
    optimizer.update(student, gradient)
    return training, terms.log("train/")


batches = images.reshape(2, 8, 32, 32, 3), masks.reshape(2, 8, 32, 32)
for _ in range(5):
    _, logged = epoch((student, optimizer), teacher, *batches)
    metrics = SODMetrics()
    metrics.update(jax.nn.sigmoid(student(images)[..., 0]), masks)
    report = metrics.compute()
    print(f"weight {logged['train/weight'][-1]:.3f}, maxF {report['maxF']:.3f}")
