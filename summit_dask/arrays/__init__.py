"""Arrays in, arrays out: the numbers themselves. They import facts only."""
