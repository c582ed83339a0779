"""Memory across threads: items under a namespace and a key, found again by either, by a filter, or by what they mean."""
