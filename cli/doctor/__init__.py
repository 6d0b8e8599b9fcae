"""`seedance doctor`: checks of a deployed stack, one small function each. ``table.CHECKS`` lists them."""
