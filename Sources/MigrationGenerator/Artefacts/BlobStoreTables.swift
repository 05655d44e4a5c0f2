import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `027_blob_store_tables.sql`: what the database knows of the objects in the object store.
  func blobStoreTables() -> Artefact {
    Artefact(
      path: "027_blob_store_tables.sql",
      kind: .versioned,
      purpose: [
        "What the database knows of the object store: uploads that are under way, objects that are to be deleted, and keys",
        "that must not be used again.",
      ],
      locks: ["ACCESS EXCLUSIVE on \(runs.quoted) for an instant, to add two columns"],
      lintException: .init(
        rules: ["prefer-bigint-over-int"],
        reason: [
          "The integers count attempts and generations of one object, each of which takes a request to the store."
        ]
      ),
      body: """
        CREATE TABLE IF NOT EXISTS \(uploads) (
          id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          hash       \(keyType) NOT NULL,
          generation integer NOT NULL CHECK (generation >= 0),
          size       bigint NOT NULL CHECK (size >= 0),
          media_type text NOT NULL,
          uploader   text NOT NULL,
          is_offload boolean NOT NULL,
          started_at timestamptz NOT NULL DEFAULT now(),
          expires_at timestamptz NOT NULL
        );
        CREATE INDEX IF NOT EXISTS \(names.identifier("blob_uploads_hash_idx")) ON \(uploads) (hash);
        COMMENT ON TABLE \(uploads) IS 'Leases: objects that somebody is writing. A lease that has expired becomes a deletion of what was written.';
        COMMENT ON COLUMN \(uploads).is_offload IS 'The blob is here already, inline, and is to move.';

        CREATE TABLE IF NOT EXISTS \(deletions) (
          id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          hash            \(keyType) NOT NULL,
          generation      integer NOT NULL CHECK (generation >= 0),
          size            bigint NOT NULL,
          queued_at       timestamptz NOT NULL DEFAULT now(),
          attempts        integer NOT NULL DEFAULT 0,
          next_attempt_at timestamptz NOT NULL DEFAULT now(),
          last_error      text,
          UNIQUE (hash, generation)
        );
        COMMENT ON TABLE \(deletions) IS 'Objects that nothing needs any more, until the store has deleted them.';
        COMMENT ON COLUMN \(deletions).attempts IS 'How often the store was asked, recorded before it is asked: one that did not answer may still delete the object later.';

        CREATE TABLE IF NOT EXISTS \(objects) (
          hash            \(keyType) PRIMARY KEY,
          generation      integer NOT NULL CHECK (generation >= 0),
          next_generation integer NOT NULL CHECK (next_generation >= generation),
          unanswered      bigint NOT NULL DEFAULT 0 CHECK (unanswered >= 0)
        );
        COMMENT ON TABLE \(objects) IS 'The objects of a hash, where not all is as in the beginning: a hash without a row has generation 0, and its object is named like the hash.';
        COMMENT ON COLUMN \(objects).generation IS 'The object that has the blob''s content, where the blob is external.';
        COMMENT ON COLUMN \(objects).next_generation IS 'The object that the next upload writes: one that the store was never asked to delete, or whose deletions it has all confirmed.';
        COMMENT ON COLUMN \(objects).unanswered IS 'Requests to delete an object of this hash that nobody has confirmed: the store may still carry them out.';

        ALTER TABLE \(runs)
          ADD COLUMN IF NOT EXISTS external_blobs bigint NOT NULL DEFAULT 0,
          ADD COLUMN IF NOT EXISTS external_bytes bigint NOT NULL DEFAULT 0;
        COMMENT ON COLUMN \(runs).external_blobs IS 'Those of the deleted \(comment: blobs.plural) whose content is in the object store; it goes when the queue of deletions is worked off.';
        COMMENT ON COLUMN \(runs).external_bytes IS 'That part of freed_bytes that is in the object store.';
        """
    )
  }

  var uploads: QualifiedName { names.qualified("blob_uploads") }
  var deletions: QualifiedName { names.qualified("blob_deletions") }
  var objects: QualifiedName { names.qualified("blob_objects") }

  /// The storage class of a blob whose content is in the object store.
  var external: SQL { "'s3'" }

  /// Whether the content of a blob row is in the object store.
  func isExternal(_ alias: SQL) -> SQL { "\(alias).\(Identifier(blobs.storageClass)) = \(external)" }

  /// Whether a client has inserted the row and no content yet.
  func lacksContent(_ alias: SQL) -> SQL {
    "(\(alias).\(Identifier(blobs.data)) IS NULL AND \(alias).\(Identifier(blobs.storageClass)) <> \(external))"
  }

  /// Queues the objects of those blob rows of a query that have one, unless the archive needs it: then the purge does.
  func queueDeletions(of source: SQL) -> SQL {
    """
    INSERT INTO \(deletions) (hash, generation, size)
    SELECT o.\(key), coalesce(g.generation, 0), o.\(Identifier(blobs.size))
    FROM \(source) AS o
    LEFT JOIN \(objects) AS g ON g.hash = o.\(key)
    WHERE \(isExternal("o"))
      AND NOT EXISTS (
        SELECT FROM \(archivedBlobs.archive) AS a
        WHERE a.\(key) = o.\(key) AND a.\(archivedBlobs.generation) = coalesce(g.generation, 0)
      )
    ON CONFLICT (hash, generation) DO NOTHING;
    """
  }
}
