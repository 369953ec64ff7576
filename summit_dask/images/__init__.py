"""From a folder or manifest to labelled images, and from a file to the network's input."""
