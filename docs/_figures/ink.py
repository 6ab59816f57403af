"""How axes look on light and on dark pages, and what several of them show."""


def in_ink(axes, ink):
    """Draw what surrounds the data in one colour, and no frame but a corner."""
    axes.tick_params(colors=ink, which="both")
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)


def over(axes, results, setting, score, styles):
    """Draw each method's mean over a setting, with bands of one deviation over seeds; return the values of that."""
    for method, (colour, line) in styles.items():
        rows = [row for row in results["rows"] if row["method"] == method]
        values, spreads = [row[setting] for row in rows], [row["scores"][score] for row in rows]
        style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 4}
        axes.plot(values, [spread["mean"] for spread in spreads], label=method, **style)
        low, high = ([each["mean"] + side * each["deviation"] for each in spreads] for side in (-1, 1))
        axes.fill_between(values, low, high, color=colour, alpha=0.12, linewidth=0)
    return values
