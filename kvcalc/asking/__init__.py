"""Questions as people put them: names become nouns, spellings become numbers, and every mistake names its option."""
