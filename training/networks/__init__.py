"""Teacher and student: a pre-trained trunk, and a feature pyramid with dense heads or the head of YOLOX."""
