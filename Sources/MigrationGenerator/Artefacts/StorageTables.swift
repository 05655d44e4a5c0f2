import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `025_storage.sql`: how much the blobs take, without reading them all.
  func storageTables() -> Artefact {
    Artefact(
      path: "025_storage.sql",
      kind: .versioned,
      purpose: ["How many blobs there are and how many bytes they have, by storage class, without reading them all."],
      locks: ["none on existing tables"],
      body: """
        CREATE TABLE IF NOT EXISTS \(storageLedger) (
          storage_class text NOT NULL,
          blobs         bigint NOT NULL,
          bytes         bigint NOT NULL
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
        COMMENT ON TABLE \(storageLedger) IS 'Blobs and bytes gained (positive) or lost (negative), by storage class. Append-only, so that no upload waits for another; a fold adds the entries up.';

        \(identifyByWholeRow(storageLedger))

        CREATE OR REPLACE VIEW \(storage) AS
        SELECT s.storage_class, sum(s.blobs)::bigint AS blobs, sum(s.bytes)::bigint AS bytes
        FROM (
          SELECT l.storage_class, l.blobs, l.bytes FROM \(storageLedger) AS l
          UNION ALL
          SELECT 'db', 0, 0
        ) AS s
        GROUP BY s.storage_class;
        COMMENT ON VIEW \(storage) IS 'Blobs and their bytes by storage class; db: inline, in the table itself.';
        """
    )
  }

  var storageLedger: QualifiedName { names.qualified("storage_ledger") }
  var storage: QualifiedName { names.qualified("storage") }

  /// The storage class of a blob row; both spellings of inline are one.
  private func storageClass(_ alias: SQL) -> SQL {
    "coalesce(nullif(\(alias).\(Identifier(blobs.storageClass)), ''), 'db')"
  }

  /// Appends what the blobs of a query add to (`+`) or take from (`-`) the storage.
  func recordStorage(_ sign: SQL, of source: SQL) -> SQL {
    """
    INSERT INTO \(storageLedger) (storage_class, blobs, bytes)
    SELECT \(storageClass("b")), \(sign)count(*), \(sign)coalesce(sum(b.\(Identifier(blobs.size))), 0)
    FROM \(source) AS b
    GROUP BY 1;
    """
  }

  /// Appends the change of one updated row.
  var recordStorageChange: SQL {
    """
    INSERT INTO \(storageLedger) (storage_class, blobs, bytes)
    VALUES (\(storageClass("NEW")), 1, coalesce(NEW.\(Identifier(blobs.size)), 0)), (\(storageClass("OLD")), -1, -coalesce(OLD.\(Identifier(blobs.size)), 0));
    """
  }

  /// Appends what is wrong in the totals.
  var appendStorageDrift: SQL {
    """
    INSERT INTO \(storageLedger) (storage_class, blobs, bytes)
    SELECT d.storage_class, sum(d.blobs), sum(d.bytes)
    FROM (
      SELECT \(storageClass("b")) AS storage_class, count(*) AS blobs, coalesce(sum(b.\(Identifier(blobs.size))), 0) AS bytes
      FROM \(blobTable) AS b
      GROUP BY 1
      UNION ALL
      SELECT s.storage_class, -s.blobs, -s.bytes FROM \(storage) AS s
    ) AS d
    GROUP BY d.storage_class
    HAVING sum(d.blobs) <> 0 OR sum(d.bytes) <> 0;
    """
  }

  /// Adds the entries up, so that reading the totals stays cheap. Only a fold does it: they exclude each other.
  var foldStorage: SQL {
    """
    IF EXISTS (SELECT FROM \(storageLedger) AS l GROUP BY l.storage_class HAVING count(*) > 1) THEN
      WITH taken AS (
        DELETE FROM \(storageLedger) AS l RETURNING l.storage_class, l.blobs, l.bytes
      )
      INSERT INTO \(storageLedger) (storage_class, blobs, bytes)
      SELECT t.storage_class, sum(t.blobs), sum(t.bytes) FROM taken AS t
      GROUP BY t.storage_class
      HAVING sum(t.blobs) <> 0 OR sum(t.bytes) <> 0;
    END IF;
    """
  }
}
