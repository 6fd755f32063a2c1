"""Teacher and student: a pre-trained trunk, a feature pyramid, and one dense head a stride."""
