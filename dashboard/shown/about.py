"""What a store's results were made of, in a few facts."""

from pathlib import Path

from dashboard.data import StoreData


def run_facts(data: StoreData) -> list[tuple[str, str]]:
    """Model, images and the options that every number hangs on."""
    options = data.options
    facts = [
        ("Model", Path(options.model).name),
        ("Data set", Path(options.images).name),
        ("Classes", f"{data.n_classes:,}"),
        ("Images", f"{data.n_images:,}" if data.n_images else "–"),
    ]
    if data.is_imported:  # it isn't known what the graphs were made with
        return facts
    return [*facts, ("Mass", f"{options.mass:.3g}"), ("k", str(options.k))]
