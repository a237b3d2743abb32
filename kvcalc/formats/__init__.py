"""Element formats: how many bytes a row of elements takes, in a cache and in a checkpoint."""
