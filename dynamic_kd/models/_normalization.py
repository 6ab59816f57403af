"""What the networks' input is normalised by: red, green, blue and depth, each in [0, 1] before."""

# Colour by ImageNet's mean and standard deviation, which VGG's published weights expect; depth to about the same range.
MEAN = (0.485, 0.456, 0.406, 0.5)
DEVIATION = (0.229, 0.224, 0.225, 0.25)
