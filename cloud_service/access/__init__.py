"""Who may do what: API keys with scopes and tenants, what each call needs, and the record of what was done."""
