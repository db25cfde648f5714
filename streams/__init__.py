"""The stream processor: settings, feed, decode, split, seal and the Faust worker."""
