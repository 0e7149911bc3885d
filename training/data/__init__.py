"""Public data as the project uses it: task families, the episodes drawn from them, descriptions, templates."""
