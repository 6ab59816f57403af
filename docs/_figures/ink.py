"""How axes look on light and on dark pages."""


def in_ink(axes, ink):
    """Draw what surrounds the data in one colour, and no frame but a corner."""
    axes.tick_params(colors=ink, which="both")
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
