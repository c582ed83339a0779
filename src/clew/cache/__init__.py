"""Caches: what a node once came to, kept under a key. Nothing stands here; import from `clew.cache.memory` and its siblings."""
