package record

// MetaDatabase is the named value that holds the id of the database, made by its first node. It never changes, and a copy has the same.
const MetaDatabase = "cluster_id"
