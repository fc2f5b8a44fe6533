"""The architectures of the offline zoo and its weight files: what its entries and their training share."""
