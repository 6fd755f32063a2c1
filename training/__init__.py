"""Teacher and student: data, networks, distillation, evaluation."""
