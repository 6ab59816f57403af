"""The kernels, in Triton's language, and how many numbers they keep of an image."""

# Sums over an image's pixels: teacher, its overlap, the student's errors P (1 - G) + (1 - P) G, its overlap, target,
# divergence, cross-entropy, the teacher's cross-entropy, valid pixels.
SUMS = 9
# The terms, one over the number of pixels, and whether there are any. After all images' comes one over what the
# reduction divides by.
TERMS = 9
