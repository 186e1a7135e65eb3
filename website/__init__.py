"""How the pages in docs/ become a site: what mkdocs does not do by itself."""
