"""OAuth 2.0 and OpenID Connect: Authlib's framework-neutral core over our records."""
