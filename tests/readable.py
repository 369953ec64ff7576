"""Whether a page can be read and used by keyboard: contrast of its text, its width, names of what can be focused.

Scripts for Playwright's `evaluate`; they look into the shadow roots of components too.
"""

_ELEMENTS = """
    const all = root => [...root.querySelectorAll("*")].flatMap(e => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
    const parent = e => e.parentElement ?? (e.getRootNode() instanceof ShadowRoot ? e.getRootNode().host : null);
    const chain = e => e ? [e, ...chain(parent(e))] : [];
    const seen = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
"""

#: Text whose contrast to what is behind it is below 4.5 : 1 (WCAG 2, level AA), as pairs of contrast and text.
FAINT = f"""() => {{
    {_ELEMENTS}
    const context = Object.assign(document.createElement("canvas"), {{width: 1, height: 1}})
        .getContext("2d", {{willReadFrequently: true}});
    const rgba = colour => {{
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    }};
    const over = (a, b, share) => [0, 1, 2].map(k => a[k] * share + b[k] * (1 - share));
    const behind = e => {{
        const colours = chain(e).map(p => rgba(getComputedStyle(p).backgroundColor)).filter(c => c[3] > 0);
        return colours.reverse().reduce((below, c) => over(c, below, c[3] / 255), [255, 255, 255]);
    }};
    const light = c => {{
        const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }};
    const contrast = e => {{
        const style = getComputedStyle(e);
        const back = behind(e);
        const own = rgba(e instanceof SVGElement ? style.fill : style.color);
        const opacity = chain(e).reduce((product, p) => product * Number(getComputedStyle(p).opacity), own[3] / 255);
        const [a, b] = [light(over(own, back, opacity)), light(back)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }};
    const told = e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
    const silent = "option, style, script, title, :disabled, :disabled *, [aria-disabled=true] *, [hidden] *";
    const texts = all(document.body).filter(e => told(e) && !e.matches(silent) && e.getClientRects().length && seen(e));
    return texts.map(e => [Math.round(100 * contrast(e)) / 100, e.textContent.trim().slice(0, 60)])
        .filter(([value]) => value < 4.5);
}}"""

#: What can be reached with Tab and has no name, as markup.
NAMELESS = f"""() => {{
    {_ELEMENTS}
    const name = e => e.ariaLabel || e.title || e.textContent.trim() || e.alt || e.placeholder
        || [...(e.labels ?? [])].map(l => l.textContent.trim()).join("")
        || e.getRootNode().getElementById?.(e.getAttribute("aria-labelledby") ?? "")?.textContent.trim();
    const stops = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    return all(document.body).filter(e => e.matches(stops) && e.tabIndex >= 0 && seen(e) && !e.disabled && !name(e))
        .map(e => e.outerHTML.slice(0, 120));
}}"""

#: What reaches beyond the page's right edge, where nothing around it scrolls or cuts it off.
BEYOND = f"""() => {{
    {_ELEMENTS}
    const width = document.documentElement.clientWidth;
    const right = e => e.getBoundingClientRect().right;
    const page = document.querySelector("[data-testid=stMain]");  // which scrolls, and is not to sideways
    const holds = e => getComputedStyle(e).overflowX !== "visible" && right(e) <= width + 1;
    const within = e => chain(parent(e)).slice(0, chain(parent(e)).indexOf(page));
    return all(document.body).filter(e => e.getClientRects().length && seen(e) && right(e) > width + 1)
        .filter(e => !within(e).some(holds)).map(e => `${{e.tagName}} ${{e.textContent.trim().slice(0, 60)}}`);
}}"""
