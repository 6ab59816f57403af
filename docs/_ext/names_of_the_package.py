"""Names are found wherever they live: docstrings say `SODMetrics`, not in which package it is."""


def look_everywhere(app, env, node, contnode):
    """Look for any object whose last names are these, as the leading dot of Sphinx's own roles does."""
    if node.get("refdomain") != "py" or node.get("refspecific"):
        return None
    node["refspecific"] = True
    domain = env.get_domain("py")
    target = node["reftarget"]
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contnode)


def setup(app):
    app.connect("missing-reference", look_everywhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
