"""What Streamlit runs for each visitor and each change: this package, by its file, and then its `app`."""

from importlib import import_module

from summit_dask.serve import load_dashboard

if __name__ == "__main__":
    load_dashboard()
    import_module("dashboard.app").main()
