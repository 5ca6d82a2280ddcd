"""Git over HTTP: who may clone and push what, and what a push may bring."""
