"""Tables over many runs in the paper's layout: measured, published, difference.

``collect`` finds runs, ``tables`` makes :class:`~cpr_lightning.reporting.cells.Table` of them; neither prints nor
writes. The formats know tables alone. ``making.make_report`` does it all.
"""
