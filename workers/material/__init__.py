"""What sources share: trees of files, users' folders, manifests, databases opened to read."""
