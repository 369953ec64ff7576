"""See what an image classifier has learned, class by class, at the scale of whole data sets."""
