"""The dashboard: a Streamlit app that shows a store and needs nothing else, neither images nor network.

    __main__ ── Streamlit ── script ── app              the server; the page that was asked for
                                        │
                                     session            the open store, the visitor's address
                                     │     │
                               selection  data          what is shown; what is read, and kept
                                     │     │
                                     │  evidence        what was found about its graphs
                                     │     │
                                     views              one page a file
                                        │
                                      shown             what pages share
                                        │
                            plain    components         texts letter by letter; TypeScript in components/src

Whoever stands lower knows nothing of who stands higher, but for `session`, through which pages and what they share
answer clicks. `address` says how a selection is written; `kept` is the one cache.
"""
