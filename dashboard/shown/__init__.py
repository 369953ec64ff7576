"""What several pages show.

oneclass                      choosing a class, its header
classtable                    the embedding and the list of all classes
graphs, reselect              an attribution graph: its drawing, cards and files; selecting it again
channels, images, likeness    tables about channels, single images, and what is like what
photographs, strategies       single images as pictures; a class's images parted by what they use
sharing, about                how classes share channels; what a store was made of
beside, networks              the folder's other stores: which can be compared, and how their networks answer
badge, proof                  what evidence says of a graph, in a sentence and in tables
figures                       charts
"""
