"""Models in memory: the paths that they may be predicted on, the processes that they may need, turns and sleep."""
