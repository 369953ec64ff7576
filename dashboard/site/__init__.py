"""The dashboard as a folder of files that any static host serves: written here, shown by components/src/site.

    index.html  site.js  site.css       the page and its program
    data/first.js                       all of what follows that the first graph shows
    data/site.js                        classes, layers, what there is
    data/class/3.js                     graphs, sources, predictions of one class
    data/evidence/activation-influence.js     all classes' necessity, specificity, stability
    data/layer/0.js                     counts, embedding, orders
    data/channel/0/2.js                 of 16 channels: classes that use them, neighbours, values
    data/picture/0/7.js                 a channel's picture
    tiles/0/7.webp                      its further pictures and examples, side by side

source      which classes, which parts
facts, layers, channels, classes, evidence, pictures     what each kind of file holds, shaped as the dashboard has it
files, page                         how it is written; `write` does it
"""
