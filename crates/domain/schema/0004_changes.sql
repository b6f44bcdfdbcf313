-- What went more than 30 days ago is forgotten by a job, whoever it was.
CREATE INDEX tombstones_old ON tombstones (destroyed_at);
