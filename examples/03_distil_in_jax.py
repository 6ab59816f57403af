"""
The dynamic loss in JAX
=======================

``jax.jit`` and ``jax.value_and_grad`` work on the loss as on any function of arrays. For simplicity, this example
trains the logits themselves instead of a network.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from dynamic_kd import DynamicKDLoss

keys = jax.random.split(jax.random.key(0), 3)
student_logits = jax.random.normal(keys[0], (8, 32, 32))
target = (jax.random.uniform(keys[1], (8, 32, 32)) > 0.6).astype(jnp.float32)
teacher_logits = 6 * target - 3 + jax.random.normal(keys[2], (8, 32, 32))

# %%
# Compile the loss together with its gradient, and take 200 steps.

loss = DynamicKDLoss(temperature=5.0)
step = jax.jit(jax.value_and_grad(loss))
value, gradient = step(student_logits, teacher_logits, target)
print(f"loss {value:.4f}, gradient of norm {jnp.linalg.norm(gradient):.4f}")

values = []
for _ in range(200):
    value, gradient = step(student_logits, teacher_logits, target)
    student_logits = student_logits - 300 * gradient
    values.append(float(value))
_, terms = loss.with_terms(student_logits, teacher_logits, target)
print(f"after 200 steps {value:.4f}, β {terms.student_error.mean():.4f}")

# %%
# The loss falls smoothly.

figure = Figure(figsize=(5, 2.8), layout="constrained")
axes = figure.subplots()
axes.plot(values)
axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
