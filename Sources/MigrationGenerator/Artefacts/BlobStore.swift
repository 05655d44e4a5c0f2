import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `075_blob_store.sql`: the functions by which blobs move to the object store, in it and out of it.
  func blobStore() -> Artefact {
    Artefact(
      path: "075_blob_store.sql",
      kind: .repeatable,
      purpose: [
        "How blobs get into the object store and out of it, for clients in any language. The client moves the bytes; these",
        "functions see to it that an upload and a deletion never meet on one object:",
        "  upload:   begin, COMMIT, write the object, complete;",
        "  deletion: claim, COMMIT, delete the object, done or failed.",
        "An object is named like its hash. If the store was ever asked to delete that object, the next upload of the hash",
        "gets another name (hash.1, hash.2, ...): a request that seemed lost may still be carried out.",
        looksUpByKeyNote,
      ],
      locks: ["none on tables", locksOfViews],
      body: .joined(
        [
          objectKeyFunction, locationsView, neededView, beginFunction, offloadFunction, completeFunction, abortFunction,
          restoreFunction, claimFunction, doneFunction, failedFunction, orphansFunction,
        ],
        separator: "\n\n"
      )
    )
  }

  /// The functions of the file, for rights and removal.
  var uploadFunctionNames: [String] { ["blob_upload_begin", "blob_upload_complete", "blob_upload_abort"] }
  var moveFunctionNames: [String] {
    [
      "blob_offload_begin", "blob_restore", "blob_deletions_claim", "blob_deletions_done", "blob_deletions_failed",
      "blob_deletions_add",
    ]
  }
  var locations: QualifiedName { names.qualified("blob_locations") }
  var neededObjects: QualifiedName { names.qualified("blob_needed_objects") }
  var objectKey: QualifiedName { names.qualified("blob_object_key") }

  /// A blob's key as the text that its object is named after.
  private func hexKey(_ key: SQL) -> SQL { model.hasBinaryKey ? "pg_catalog.encode(\(key), 'hex')" : key }

  /// Whether a key can be the SHA-256 of a content; any other cannot be checked, and stays inline.
  private func isDigest(_ key: SQL) -> SQL {
    model.hasBinaryKey ? "pg_catalog.octet_length(\(key)) = 32" : "\(key) ~ '^[0-9a-f]{64}$'"
  }

  private func isDigest(_ key: SQL, of content: SQL) -> SQL {
    model.hasBinaryKey
      ? "\(key) = pg_catalog.sha256(\(content))"
      : "\(key) = pg_catalog.encode(pg_catalog.sha256(\(content)), 'hex')"
  }

  private var readCommittedOnly: SQL {
    """
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION 'objects can be moved at READ COMMITTED only'
        USING ERRCODE = 'active_sql_transaction',
          HINT = 'An older snapshot does not show who has begun to use or to delete them: BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    """
  }

  /// Whether the object of a row's hash and generation must stay.
  private func isNeeded(_ alias: SQL) -> SQL {
    """
    EXISTS (
      SELECT FROM \(neededObjects) AS b WHERE b.hash = \(alias).hash AND b.object_key = \(objectKey)(\(alias).hash, \(alias).generation)
      -- So that it is looked up: without, the planner joins, and reads all blobs for it.
      OFFSET 0
    )
    """
  }

  /// The second key of the lock under which uploads and deletions of a hash exclude each other. No submit ever asks for it.
  func objectBucket(_ key: SQL) -> SQL { "\(LockKey.objects) + \(bucket(key))" }

  /// Takes the locks of all hashes of a query with a column `hash`, in one order, so that two callers cannot deadlock.
  func lockObjects(of source: SQL) -> SQL {
    """
    PERFORM pg_catalog.pg_advisory_xact_lock(\(lockNamespace), k.bucket)
    FROM (SELECT DISTINCT \(objectBucket("s.hash")) AS bucket FROM (\(source)) AS s ORDER BY 1) AS k;
    """
  }

  /// The generation that an upload of a hash takes, from the row `g` of the objects or none.
  private var nextGeneration: SQL { "coalesce(g.next_generation, 0)" }

  /// A function of the owner's rights, which PUBLIC may not call.
  ///
  /// - Parameter parameters: name, type and default of each, as they stand in its declaration.
  private func create(
    _ name: String,
    _ parameters: [(name: String, type: SQL, initial: SQL?)],
    returns: SQL,
    marked: Bool = false,
    _ comment: String,
    _ body: (QualifiedName) -> SQL
  ) -> SQL {
    let function = names.qualified(name)
    let declarations = parameters.map { parameter -> SQL in
      "\(raw: parameter.name) \(parameter.type)\(parameter.initial.map { " DEFAULT \($0)" } ?? "")"
    }
    let signature: SQL = "\(function)(\(SQL.joined(parameters.map(\.type), separator: ", ")))"
    return """
      CREATE OR REPLACE FUNCTION \(function)(\(SQL.joined(declarations, separator: ", ")))
      RETURNS \(returns)
      LANGUAGE plpgsql \(ownerRights) \(looksUpByKey)\(marked ? " \(marksOwnChanges)" : "")
      AS \(body(function).dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS \(literal: comment);
      \(revoke("FUNCTION", signature))
      """
  }

  // MARK: Where a blob is

  /// The media type of a blob row; none is the empty one.
  private func mediaType(_ alias: SQL) -> SQL { "coalesce(\(alias).\(Identifier(blobs.mediaType)), '')" }

  private var objectKeyFunction: SQL {
    let body: SQL =
      "SELECT CASE WHEN generation = 0 THEN \(hexKey("hash")) ELSE \(hexKey("hash")) || '.' || generation END"
    return """
      CREATE OR REPLACE FUNCTION \(objectKey)(hash \(keyType), generation integer) RETURNS text
      LANGUAGE sql IMMUTABLE PARALLEL SAFE
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(objectKey)(\(keyType), integer) IS 'The name of an object in the store, without the prefix that the client puts before it.';
      """
  }

  private var locationsView: SQL {
    """
    CREATE OR REPLACE VIEW \(locations) AS
    SELECT b.\(key) AS hash, b.\(Identifier(blobs.size)) AS size, \(mediaType("b")) AS media_type,
      coalesce(nullif(b.\(Identifier(blobs.storageClass)), ''), 'db') AS storage_class,
      CASE WHEN \(isExternal("b")) THEN \(objectKey)(b.\(key), coalesce(g.generation, 0)) END AS object_key,
      b.\(Identifier(blobs.createdAt)) AS created_at
    FROM \(blobTable) AS b
    LEFT JOIN \(objects) AS g ON g.hash = b.\(key);
    COMMENT ON VIEW \(locations) IS 'Where each blob''s content is: storage_class db: in the row itself; s3: in the object store, under the prefix and object_key. A reader who does not find the object looks here again: the blob has moved.';
    """
  }

  private var neededView: SQL {
    let archived = archivedBlobs
    return """
      CREATE OR REPLACE VIEW \(neededObjects) AS
      SELECT b.hash, b.object_key, b.size FROM \(locations) AS b WHERE b.object_key IS NOT NULL
      UNION ALL
      SELECT a.\(key), \(objectKey)(a.\(key), a.\(archived.generation)), a.\(Identifier(blobs.size))
      FROM \(archived.archive) AS a
      WHERE a.\(archived.generation) IS NOT NULL;
      COMMENT ON VIEW \(neededObjects) IS 'The objects that must not be deleted: those of the blobs, and those of archived blobs, which an undo would bring back. One can be both.';
      """
  }

  // MARK: Uploads

  private var leaseParameter: (name: String, type: SQL, initial: SQL?) { ("lease", "interval", "'1 hour'") }

  /// The row of a lease that begins now.
  private var leaseEnd: SQL { "pg_catalog.clock_timestamp() + lease" }

  private var beginFunction: SQL {
    create(
      "blob_upload_begin",
      [
        ("hash", keyType, nil), ("size", "bigint", nil), ("media_type", "text", "''"), ("uploader", "text", "''"),
        leaseParameter,
      ],
      returns: "TABLE (outcome text, upload_id bigint, object_key text)",
      """
      Begins to put a blob into the object store. outcome upload: COMMIT, write the object object_key, then complete it \
      before the lease ends; outcome stored: the blob is here already and counts as put now.
      """
    ) { function in
      let given = (hash: "\(function.identifier).hash" as SQL, other: function.identifier)
      return """
        #variable_conflict use_column
        BEGIN
          \(readCommittedOnly)
          IF (\(isDigest(given.hash))) IS NOT TRUE THEN
            RAISE EXCEPTION 'not a hash: % is no SHA-256 in lower-case hex', left(\(given.hash)::text, 100)
              USING ERRCODE = 'invalid_parameter_value';
          END IF;
          -- Sizes are added up, those of uploads and deletions too: one that no blob can have would stop every fold and cleanup.
          IF (\(isSize("\(given.other).size"))) IS NOT TRUE THEN
            \(refuseSize("\(given.other).size"))
          END IF;
          -- A blob that is here counts as put now; one that is being deleted at this moment is gone when this returns.
          PERFORM \(names.qualified("touch_\(blobs.plural)"))(ARRAY[\(given.hash)]);
          PERFORM pg_catalog.pg_advisory_xact_lock(\(lockNamespace), \(objectBucket(given.hash)));
          IF EXISTS (SELECT FROM \(blobTable) AS b WHERE b.\(key) = \(given.hash) AND NOT \(lacksContent("b"))) THEN
            RETURN QUERY SELECT 'stored', NULL::bigint, NULL::text;
            RETURN;
          END IF;
          RETURN QUERY
          WITH begun AS (
            INSERT INTO \(uploads) AS u (hash, generation, size, media_type, uploader, is_offload, expires_at)
            SELECT \(given.hash), \(nextGeneration), \(given.other).size, coalesce(\(given.other).media_type, ''), coalesce(\(given.other).uploader, ''), false, \(leaseEnd)
            FROM (SELECT) AS one
            LEFT JOIN \(objects) AS g ON g.hash = \(given.hash)
            RETURNING u.id, u.hash, u.generation
          ), kept AS (
            -- The store was not asked yet to delete this one.
            DELETE FROM \(deletions) AS d USING begun AS u WHERE d.hash = u.hash AND d.generation = u.generation
          )
          SELECT 'upload', u.id, \(objectKey)(u.hash, u.generation) FROM begun AS u;
        END
        """
    }
  }

  private var offloadFunction: SQL {
    let data = Identifier(blobs.data)
    return create(
      "blob_offload_begin",
      [("hashes", "\(keyType)[]", nil), leaseParameter],
      returns: "TABLE (hash \(keyType), outcome text, upload_id bigint, object_key text, size bigint, media_type text)",
      """
      Begins to move blobs from their rows into the object store. outcome upload: COMMIT, write the content to object_key, \
      then complete it; missing, external (moved already), leased (somebody else is moving it), not a hash, or wrong size \
      (the row says another size than its content has): left alone.
      """
    ) { _ in
      """
      #variable_conflict use_column
      BEGIN
        \(readCommittedOnly)
        \(lockObjects(of: "SELECT h.hash FROM pg_catalog.unnest(hashes) AS h (hash) WHERE \(isDigest("h.hash"))"))
        RETURN QUERY
        WITH asked AS MATERIALIZED (
          SELECT h.hash, pg_catalog.octet_length(b.\(data))::bigint AS size, \(mediaType("b")) AS media_type,
            \(nextGeneration) AS generation,
            CASE
              WHEN (\(isDigest("h.hash"))) IS NOT TRUE THEN 'not a hash'
              WHEN b.\(key) IS NULL THEN 'missing'
              WHEN b.\(data) IS NULL THEN 'external'
              WHEN pg_catalog.octet_length(b.\(data)) <> b.\(Identifier(blobs.size)) THEN 'wrong size'
              WHEN EXISTS (
                SELECT FROM \(uploads) AS u WHERE u.hash = h.hash AND u.is_offload AND u.expires_at > pg_catalog.clock_timestamp()
              ) THEN 'leased'
              ELSE 'upload'
            END AS outcome
          FROM (SELECT DISTINCT n.hash FROM pg_catalog.unnest(hashes) AS n (hash)) AS h
          LEFT JOIN \(blobTable) AS b ON b.\(key) = h.hash
          LEFT JOIN \(objects) AS g ON g.hash = h.hash
        ), begun AS (
          INSERT INTO \(uploads) AS u (hash, generation, size, media_type, uploader, is_offload, expires_at)
          SELECT a.hash, a.generation, a.size, a.media_type, '', true, \(leaseEnd) FROM asked AS a WHERE a.outcome = 'upload'
          RETURNING u.id, u.hash, u.generation
        ), kept AS (
          -- The store was not asked yet to delete these.
          DELETE FROM \(deletions) AS d USING begun AS u WHERE d.hash = u.hash AND d.generation = u.generation
        )
        SELECT a.hash, a.outcome, u.id, \(objectKey)(u.hash, u.generation), a.size, a.media_type
        FROM asked AS a
        LEFT JOIN begun AS u ON u.hash = a.hash;
      END
      """
    }
  }

  private var completeFunction: SQL {
    let (data, size, storageClass) = (
      Identifier(blobs.data), Identifier(blobs.size), Identifier(blobs.storageClass)
    )
    return create(
      "blob_upload_complete",
      [("upload_ids", "bigint[]", nil)],
      returns: "TABLE (upload_id bigint, outcome text)",
      marked: true,
      """
      Ends uploads whose objects the store has confirmed, with size and checksum. outcome stored: the blob is in the object \
      store; inline: somebody has put it inline meanwhile; gone: the blob to be moved was deleted; busy: its row is locked, \
      complete it again later; expired: the lease is over, begin again. What was written for nothing is queued for deletion.
      """
    ) { function in
      """
      #variable_conflict use_column
      BEGIN
        \(readCommittedOnly)
        \(lockObjects(of: "SELECT u.hash FROM \(uploads) AS u WHERE u.id = ANY (upload_ids)"))
        RETURN QUERY
        WITH leases AS MATERIALIZED (
          SELECT u.*, pg_catalog.row_number() OVER (PARTITION BY u.hash, u.is_offload ORDER BY u.id) = 1 AS is_first
          FROM \(uploads) AS u
          WHERE u.id = ANY (upload_ids)
        ), held AS MATERIALIZED (
          SELECT b.hash, b.size, b.lacks_content
          FROM (SELECT l.hash, pg_catalog.bool_or(l.is_offload) AS is_offload FROM leases AS l GROUP BY l.hash) AS w
          CROSS JOIN LATERAL (
            -- Nobody waits for the transactions that use a blob.
            SELECT b.\(key) AS hash, pg_catalog.octet_length(b.\(data)) AS size, \(lacksContent("b")) AS lacks_content
            FROM \(blobTable) AS b
            WHERE b.\(key) = w.hash AND (w.is_offload OR \(lacksContent("b")))
            FOR NO KEY UPDATE SKIP LOCKED
          ) AS b
        ), arrived AS (
          -- With all that a blob needs: the table may have no defaults.
          INSERT INTO \(blobTable) (\(key), \(size), \(Identifier(blobs.mediaType)), \(storageClass), \(Identifier(blobs.createdAt))\(uploaderColumn))
          SELECT l.hash, l.size, l.media_type, \(external), now()\(uploaderColumn.text.isEmpty ? "" : ", l.uploader")
          FROM leases AS l
          WHERE l.is_first AND NOT l.is_offload
          ON CONFLICT (\(key)) DO NOTHING
          RETURNING \(key) AS hash
        ), moved AS (
          UPDATE \(blobTable) AS b
          SET \(data) = NULL, \(storageClass) = \(external), \(size) = l.size
          FROM leases AS l
          JOIN held AS h ON h.hash = l.hash AND (CASE WHEN l.is_offload THEN h.size = l.size ELSE h.lacks_content END)
          WHERE l.is_first AND b.\(key) = l.hash
          RETURNING b.\(key) AS hash, l.is_offload
        ), ended AS MATERIALIZED (
          -- Read top down: used by us; gone, or for an upload inserted by another that our snapshot does not show; locked;
          -- inline meanwhile; else another upload was first. Whether the object is kept, is_used decides.
          SELECT l.id, l.hash, l.generation, l.size,
            CASE
              WHEN a.hash IS NOT NULL OR m.hash IS NOT NULL THEN 'stored'
              WHEN b.\(key) IS NULL THEN CASE WHEN l.is_offload THEN 'gone' ELSE 'stored' END
              WHEN (l.is_offload OR \(lacksContent("b"))) AND l.hash NOT IN (SELECT h.hash FROM held AS h) THEN 'busy'
              WHEN b.\(data) IS NOT NULL THEN 'inline'
              ELSE 'stored'
            END AS outcome,
            l.is_first AND (a.hash IS NOT NULL OR m.hash IS NOT NULL) AS is_used
          FROM leases AS l
          LEFT JOIN arrived AS a ON a.hash = l.hash AND NOT l.is_offload
          LEFT JOIN moved AS m ON m.hash = l.hash AND m.is_offload = l.is_offload
          LEFT JOIN \(blobTable) AS b ON b.\(key) = l.hash
        ), removed AS (
          DELETE FROM \(uploads) AS u USING ended AS e WHERE u.id = e.id AND e.outcome <> 'busy'
        ), located AS (
          INSERT INTO \(objects) AS g (hash, generation, next_generation)
          SELECT e.hash, e.generation, e.generation FROM ended AS e
          WHERE e.is_used AND (e.generation > 0 OR EXISTS (SELECT FROM \(objects) AS o WHERE o.hash = e.hash))
          ON CONFLICT (hash) DO UPDATE
          SET generation = EXCLUDED.generation, next_generation = greatest(g.next_generation, EXCLUDED.generation)
        ), unused AS (
          -- One that is in use after all is not deleted: the claim looks.
          INSERT INTO \(deletions) (hash, generation, size)
          SELECT DISTINCT ON (e.hash, e.generation) e.hash, e.generation, e.size FROM ended AS e
          WHERE NOT e.is_used AND e.outcome <> 'busy'
          ON CONFLICT (hash, generation) DO NOTHING
        )
        SELECT i.id, coalesce(e.outcome, 'expired')
        FROM pg_catalog.unnest(upload_ids) AS i (id)
        LEFT JOIN ended AS e ON e.id = i.id;
      END
      """
    }
  }

  /// The uploader is no column that the retention needs; it is filled where the table has it.
  private var uploaderColumn: SQL {
    table(blobs.table).columns.contains { $0.name == "uploader" && $0.comparableType == "text" }
      ? ", \(Identifier("uploader"))" : ""
  }

  private var abortFunction: SQL {
    create(
      "blob_upload_abort",
      [("upload_ids", "bigint[]", nil)],
      returns: "bigint",
      "Gives uploads up and returns how many; what may have been written is queued for deletion."
    ) { _ in
      """
      DECLARE
        ended bigint;
      BEGIN
        \(readCommittedOnly)
        \(lockObjects(of: "SELECT u.hash FROM \(uploads) AS u WHERE u.id = ANY (upload_ids)"))
        WITH leases AS (
          DELETE FROM \(uploads) AS u WHERE u.id = ANY (upload_ids) RETURNING u.hash, u.generation, u.size
        ), unused AS (
          INSERT INTO \(deletions) (hash, generation, size)
          SELECT DISTINCT ON (l.hash, l.generation) l.hash, l.generation, l.size FROM leases AS l
          ON CONFLICT (hash, generation) DO NOTHING
        )
        SELECT count(*) INTO ended FROM leases;
        RETURN ended;
      END
      """
    }
  }

  private var restoreFunction: SQL {
    create(
      "blob_restore",
      [("hash", keyType, nil), ("content", "bytea", nil)],
      returns: "text",
      marked: true,
      """
      Takes a blob's content back into its row and queues the object for deletion. Returns stored; inline (it is there \
      already), missing, or busy (the row is locked). A content that has another hash is refused.
      """
    ) { function in
      let (data, storageClass) = (Identifier(blobs.data), Identifier(blobs.storageClass))
      return """
        #variable_conflict use_column
        DECLARE
          found_class text;
          limit_bytes bigint;
        BEGIN
          \(readCommittedOnly)
          IF (\(isDigest("\(function.identifier).hash", of: "content"))) IS NOT TRUE THEN
            RAISE EXCEPTION 'the content given for % has another hash', left(\(function.identifier).hash::text, 100)
              USING ERRCODE = 'data_corrupted';
          END IF;
          SELECT p.max_inline_bytes INTO limit_bytes FROM \(policy) AS p;
          IF octet_length(content) > limit_bytes THEN
            RAISE EXCEPTION 'a \(comment: blobs.singular) of % bytes is too large to be kept inline (limit: % bytes)',
              octet_length(content), limit_bytes
              USING ERRCODE = 'program_limit_exceeded', HINT = \(literal: "Raise max_inline_bytes in \(policy.quoted).");
          END IF;
          SELECT b.\(storageClass) INTO found_class FROM \(blobTable) AS b
          WHERE b.\(key) = \(function.identifier).hash
          FOR NO KEY UPDATE SKIP LOCKED;
          IF NOT FOUND THEN
            RETURN CASE WHEN EXISTS (SELECT FROM \(blobTable) AS b WHERE b.\(key) = \(function.identifier).hash) THEN 'busy' ELSE 'missing' END;
          END IF;
          IF found_class <> \(external) THEN
            RETURN 'inline';
          END IF;
          -- The parameter, and no column of that name.
          UPDATE \(blobTable) AS b
          SET \(data) = \(function.identifier).content, \(storageClass) = 'db'
          WHERE b.\(key) = \(function.identifier).hash;
          RETURN 'stored';
        END
        """
    }
  }

  // MARK: Deletions

  private var claimFunction: SQL {
    create(
      "blob_deletions_claim",
      [("batch_size", "integer", "1000"), ("lease", "interval", "'5 minutes'")],
      returns: "TABLE (deletion_id bigint, object_key text, size bigint, attempt integer)",
      """
      Hands out objects to delete; COMMIT before asking the store. Uploads whose lease has ended are among them. Each is \
      nobody else's until the lease ends; then report it done or failed. From now on no upload uses these names.
      """
    ) { _ in
      """
      #variable_conflict use_column
      DECLARE
        buckets integer[];
      BEGIN
        \(readCommittedOnly)
        -- The queue is read in the order of its key, only until so many are found that are due. What comes before them is
        -- being deleted by others, or waits for another attempt.
        -- An upload or a deletion is at work where the lock is not free: next time.
        WITH due AS MATERIALIZED (
          SELECT q.hash
          FROM (
            (SELECT u.hash FROM \(uploads) AS u WHERE u.expires_at <= pg_catalog.clock_timestamp() LIMIT batch_size)
            UNION
            (
              SELECT d.hash FROM \(deletions) AS d
              WHERE d.next_attempt_at <= pg_catalog.clock_timestamp()
              ORDER BY d.id
              LIMIT batch_size
            )
          ) AS q
        )
        SELECT pg_catalog.array_agg(k.bucket) INTO buckets
        FROM (SELECT DISTINCT \(objectBucket("d.hash")) AS bucket FROM due AS d) AS k
        WHERE pg_catalog.pg_try_advisory_xact_lock(\(lockNamespace), k.bucket);

        WITH dead AS (
          DELETE FROM \(uploads) AS u
          WHERE u.expires_at <= pg_catalog.clock_timestamp() AND \(objectBucket("u.hash")) = ANY (buckets)
          RETURNING u.hash, u.generation, u.size
        )
        INSERT INTO \(deletions) (hash, generation, size)
        SELECT DISTINCT ON (l.hash, l.generation) l.hash, l.generation, l.size FROM dead AS l
        ON CONFLICT (hash, generation) DO NOTHING;

        -- Needed again, or after all. One whose blob is locked, in its table or the archive, may be leaving it at this moment
        -- and would not be queued again: it stays.
        WITH due AS MATERIALIZED (
          SELECT d.id, d.hash, d.generation FROM \(deletions) AS d
          WHERE d.next_attempt_at <= pg_catalog.clock_timestamp() AND \(objectBucket("d.hash")) = ANY (buckets)
          ORDER BY d.id
          LIMIT batch_size
        ), used AS MATERIALIZED (
          SELECT d.id, d.hash, d.generation
          FROM due AS d
          CROSS JOIN LATERAL (
            SELECT FROM \(blobTable) AS b
            WHERE b.\(key) = d.hash AND \(isExternal("b"))
            FOR NO KEY UPDATE SKIP LOCKED
          ) AS b
        ), archived AS MATERIALIZED (
          SELECT d.id
          FROM due AS d
          CROSS JOIN LATERAL (
            SELECT FROM \(archivedBlobs.archive) AS a
            WHERE a.\(key) = d.hash AND a.\(archivedBlobs.generation) = d.generation
            FOR NO KEY UPDATE SKIP LOCKED
          ) AS a
        )
        DELETE FROM \(deletions) AS d
        WHERE d.id = ANY (ARRAY(
          SELECT u.id FROM used AS u LEFT JOIN \(objects) AS g ON g.hash = u.hash WHERE u.generation = coalesce(g.generation, 0)
          UNION ALL
          SELECT a.id FROM archived AS a
        ));

        RETURN QUERY
        WITH claimed AS (
          UPDATE \(deletions) AS d
          SET attempts = d.attempts + 1, next_attempt_at = pg_catalog.clock_timestamp() + lease
          WHERE d.id = ANY (ARRAY(
            SELECT c.id FROM \(deletions) AS c
            WHERE c.next_attempt_at <= pg_catalog.clock_timestamp() AND \(objectBucket("c.hash")) = ANY (buckets)
              AND NOT EXISTS (SELECT FROM \(uploads) AS u WHERE u.hash = c.hash AND u.generation = c.generation)
              AND NOT \(isNeeded("c"))
            ORDER BY c.id
            LIMIT batch_size
          ))
          RETURNING d.id, d.hash, d.generation, d.size, d.attempts
        ), spent AS (
          -- Where the blob is does not change: it may be in another object than those that go.
          INSERT INTO \(objects) AS g (hash, generation, next_generation, unanswered)
          SELECT c.hash, 0, max(c.generation) + 1, count(*) FROM claimed AS c GROUP BY c.hash
          ON CONFLICT (hash) DO UPDATE
          SET next_generation = greatest(g.next_generation, EXCLUDED.next_generation),
            unanswered = g.unanswered + EXCLUDED.unanswered
        )
        SELECT c.id, \(objectKey)(c.hash, c.generation), c.size, c.attempts FROM claimed AS c;
      END
      """
    }
  }

  private var doneFunction: SQL {
    create(
      "blob_deletions_done",
      [("deletion_ids", "bigint[]", nil)],
      returns: "bigint",
      "Ends deletions that the store has confirmed; returns how many."
    ) { _ in
      """
      DECLARE
        ended bigint;
      BEGIN
        \(readCommittedOnly)
        \(lockObjects(of: "SELECT d.hash FROM \(deletions) AS d WHERE d.id = ANY (deletion_ids)"))
        WITH confirmed AS (
          DELETE FROM \(deletions) AS d WHERE d.id = ANY (deletion_ids) RETURNING d.hash
        ), answered AS MATERIALIZED (
          SELECT c.hash, count(*) AS requests FROM confirmed AS c GROUP BY c.hash
        ), forgotten AS (
          -- All requests were answered, so none is on its way any more: the plain name may be used again.
          DELETE FROM \(objects) AS g USING answered AS a
          WHERE g.hash = a.hash AND g.unanswered <= a.requests
            AND NOT (g.generation > 0 AND EXISTS (SELECT FROM \(blobTable) AS b WHERE b.\(key) = g.hash AND \(isExternal("b"))))
          RETURNING g.hash
        ), remembered AS (
          UPDATE \(objects) AS g SET unanswered = greatest(g.unanswered - a.requests, 0)
          FROM answered AS a
          WHERE g.hash = a.hash AND NOT EXISTS (SELECT FROM forgotten AS f WHERE f.hash = g.hash)
        )
        SELECT count(*) INTO ended FROM confirmed;
        RETURN ended;
      END
      """
    }
  }

  private var failedFunction: SQL {
    create(
      "blob_deletions_failed",
      [("deletion_ids", "bigint[]", nil), ("error", "text", nil)],
      returns: "bigint",
      "Gives back deletions that the store has refused or not answered, to be tried again later: after 10 seconds, then twice as long each time, at most an hour."
    ) { _ in
      """
      DECLARE
        ended bigint;
      BEGIN
        UPDATE \(deletions) AS d
        SET last_error = left(error, 1000),
          -- Between half and all of it, so that they do not all come back at once.
          next_attempt_at = clock_timestamp() + make_interval(secs => least(3600, 10 * 2 ^ least(d.attempts - 1, 20)) * (0.5 + random() / 2))
        WHERE d.id = ANY (deletion_ids);
        GET DIAGNOSTICS ended = ROW_COUNT;
        RETURN ended;
      END
      """
    }
  }

  private var orphansFunction: SQL {
    create(
      "blob_deletions_add",
      [("object_keys", "text[]", nil)],
      returns: "bigint",
      """
      Queues objects that nothing in the database knows, and returns how many. Names that are no hash, and objects that are \
      in use, being written or queued already, are left out.
      """
    ) { _ in
      let hash: SQL = model.hasBinaryKey ? "pg_catalog.decode(n.part[1], 'hex')" : "n.part[1]"
      return """
        DECLARE
          added bigint;
        BEGIN
          \(readCommittedOnly)
          INSERT INTO \(deletions) (hash, generation, size)
          SELECT o.hash, o.generation, 0
          FROM (
            SELECT \(hash) AS hash, coalesce(n.part[2]::integer, 0) AS generation
            FROM unnest(object_keys) AS k (object_key)
            CROSS JOIN LATERAL regexp_match(k.object_key, '^([0-9a-f]{64})(?:\\.([1-9][0-9]{0,8}))?$') AS n (part)
            WHERE n.part IS NOT NULL
          ) AS o
          WHERE NOT \(isNeeded("o"))
            AND NOT EXISTS (SELECT FROM \(uploads) AS u WHERE u.hash = o.hash AND u.generation = o.generation)
          ON CONFLICT (hash, generation) DO NOTHING;
          GET DIAGNOSTICS added = ROW_COUNT;
          RETURN added;
        END
        """
    }
  }
}
