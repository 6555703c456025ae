"""Personal data masked with placeholders."""

from __future__ import annotations

from malmoi.corpus.document import Document


def mask_personal_data(document: Document) -> Document:
    """The document with placeholders for e-mail addresses, telephone, resident, business and card numbers, and IPs."""
    raise NotImplementedError
