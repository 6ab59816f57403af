"""Fast exponentials and logarithms in float32, by hardware instructions and a polynomial."""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
LEAST_LOG = tl.constexpr(-100.0)
NEAR = tl.constexpr(0.68)  # steps of softened logits up to which series are exact in float32
# log1p(x) / x on [0, 1], relative error 2e-7 in float32.
_COEFFICIENTS = (
    0.9999999403953552,
    -0.4999949336051941,
    0.3331909477710724,
    -0.2484297752380371,
    0.1910598874092102,
    -0.1366320699453354,
    0.07822549343109131,
    -0.029504956677556038,
    0.005232624243944883,
)
C0, C1, C2, C3, C4, C5, C6, C7, C8 = (tl.constexpr(coefficient) for coefficient in _COEFFICIENTS)


@triton.jit
def exp2(x, FAST: tl.constexpr):
    """2 to the power x, for x up to 0."""
    if FAST:
        result = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        result = tl.exp2(x)
    return result


@triton.jit
def log2(x, FAST: tl.constexpr):
    """Logarithm to base 2, of a normal number."""
    if FAST:
        result = tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        result = tl.log2(x)
    return result


@triton.jit
def reciprocal(x, FAST: tl.constexpr):
    """1 / x, for a normal number whose reciprocal is one."""
    if FAST:
        result = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        result = 1.0 / x
    return result


@triton.jit
def log1p(x):
    """log(1 + x) for x in [0, 1], with full relative accuracy near 0, where log(1 + x) itself would lose x."""
    total = C8 * x + C7
    total = total * x + C6
    total = total * x + C5
    total = total * x + C4
    total = total * x + C3
    total = total * x + C2
    total = total * x + C1
    return (total * x + C0) * x


@triton.jit
def power(x, POWER: tl.constexpr):
    """Return x to a small whole power."""
    result = x
    for _ in tl.static_range(POWER - 1):
        result = result * x
    return result


@triton.jit
def decays(size, rate, POWER: tl.constexpr, FAST: tl.constexpr):
    """Return exp(-size / T) and exp(-size); ``rate`` is log2(e) / T; POWER is T if a small whole number, else 0."""
    soft = exp2(-size * rate, FAST)
    if POWER > 0:
        tail = power(soft, POWER)
    else:
        tail = exp2(-size * LOG2_E, FAST)
    return soft, tail


@triton.jit
def clipped_logit(saliency, clip, FAST: tl.constexpr):
    """Return the logit of a saliency limited to [clip, 1 - clip]; NaN stays NaN, which minimum and maximum drop."""
    rest = 1.0 - saliency
    most = 1.0 - clip
    salient = tl.where(saliency < clip, clip, tl.where(saliency > most, most, saliency))
    background = tl.where(rest < clip, clip, tl.where(rest > most, most, rest))
    return log2(salient * reciprocal(background, FAST), FAST) * LN_2


@triton.jit
def map_entropy(saliency, g):
    """Return the cross-entropy of a saliency in [0, 1], with logarithms of at least -100."""
    log_salient = tl.log(tl.where(saliency == 0, 1.0, saliency))
    rest = 1.0 - saliency
    known = tl.where(rest == 0, 1.0, rest)
    log_background = tl.log(known) - (rest - 1.0 + saliency) / known  # what rounding took from the complement
    log_salient = tl.where((saliency == 0) | (log_salient < LEAST_LOG), LEAST_LOG, log_salient)
    log_background = tl.where(rest == 0, LEAST_LOG, log_background)
    return -g * log_salient - (1.0 - g) * log_background


@triton.jit
def near_divergence(tail, part, step):
    """Divergence for a small step from a = -log(tail); ``part`` is 1 / (1 + tail).

    The series of `losses.temperature_kl`.
    """
    variance = tail * part * part
    skew = (tail - 1.0) * part
    total = (1.0 - variance * (126.0 - variance * (1680.0 - 5040.0 * variance))) * step / 40320.0
    total = (total + skew * (1.0 - variance * (60.0 - 360.0 * variance)) / 5040.0) * step
    total = (total + (1.0 - variance * (30.0 - 120.0 * variance)) / 720.0) * step
    total = (total + skew * (1.0 - 12.0 * variance) / 120.0) * step
    total = (total + (1.0 - 6.0 * variance) / 24.0) * step
    total = (total + skew / 6.0) * step
    return variance * step * step * (total + 0.5)


@triton.jit
def near_difference(tail, part, step):
    """Sigmoid(a + step) - sigmoid(a) for a small step, by exp(step) - 1; arguments as for `near_divergence`."""
    growth = step * (1.0 + step / 9.0)
    for order in tl.static_range(8, 1, -1):
        growth = step * (1.0 + growth / order)
    return tail * part * part * growth / (1.0 + part * growth)


@triton.jit
def tanh(x):
    """Return tanh of x from 0 on, in float64."""
    tail = tl.exp(-2.0 * x)
    return (1.0 - tail) / (1.0 + tail)


@triton.jit
def root(base, exponent):
    """Return base to an exponent in [0, 1], with 0 to the power 0 being 1, in float64."""
    positive = base > 0
    raised = tl.exp(exponent * tl.log(tl.where(positive, base, 1.0)))
    return tl.where(positive | (exponent == 0), raised, base)  # base: 0, or NaN
