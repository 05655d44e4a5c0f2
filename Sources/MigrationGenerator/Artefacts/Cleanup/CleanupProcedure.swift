import RetentionModel
import SafeSQL

/// The procedure, which loops and commits.
extension RetentionSchema {
  var nextTransaction: SQL {
    let procedure = names.qualified("cleanup_next_transaction")
    let body: SQL = """
      BEGIN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      END
      """
    return """
      CREATE OR REPLACE PROCEDURE \(procedure)()
      LANGUAGE plpgsql
      AS \(body.dollarQuoted());
      COMMENT ON PROCEDURE \(procedure)() IS 'Commits what a cleanup has done and begins its next transaction, at READ COMMITTED whatever the default is.';
      \(revoke("PROCEDURE", "\(procedure)()"))
      """
  }

  /// What to do about a run that is refused, for either reason; followed by another sentence.
  private var refusalRemedy: String {
    "A trigger: \(triggersRemedy) A share that is meant to be so large: raise max_delete_fraction in \(policy.quoted). "
  }

  var procedure: SQL {
    let procedure = names.qualified("cleanup")
    let next: SQL = "CALL \(names.qualified("cleanup_next_transaction"))();"
    let outputs = countColumns.map { column -> SQL in "INOUT \(Identifier(column.name)) bigint DEFAULT NULL" }
    let results = countColumns.map { column -> SQL in
      "\(Identifier(column.name)) := finished.\(Identifier(column.name));"
    }
    let keys: [(name: String, type: SQL)] =
      model.classes.map { ($0.name, keyColumnType($0.table)) } + [(blobs.plural, keyType), (purge, "bigint")]
    let variables = keys.map { name, type -> SQL in
      """
      \(Identifier("\(name)_time")) timestamptz := timestamptz '-infinity';
      \(Identifier("\(name)_key")) \(type);
      """
    }
    let classLoops = model.classes.map { loop($0.name, next: next) }
    let body: SQL = """
      #variable_conflict use_variable
      DECLARE
        run      record;
        batch    record;
        finished \(runs);
        probes   integer := 0;
        attempts integer;
        result   text := 'completed';
        problem  text;
        problem_state text;
        real     boolean;
        pause_end timestamptz;
        fold_deadline timestamptz;
        \(SQL.joined(variables, separator: "\n"))
      BEGIN
        IF cutoff > pg_catalog.clock_timestamp() THEN
          RAISE EXCEPTION 'cutoff % is in the future', cutoff
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a moment that has passed; everything before it expires.';
        END IF;
        SELECT NOT coalesce(dry_run, p.dry_run) INTO real FROM \(policy) AS p;
        IF real THEN
          -- A procedure cannot ask whether it may commit, nor catch that it may not: the comment inside the parentheses is
          -- what the error's context shows.
          CALL \(names.qualified("cleanup_next_transaction"))(
            /* a real cleanup commits after every batch: CALL it outside BEGIN ... COMMIT, with autocommit on */);
        END IF;

        LOOP
          SELECT s.* INTO run FROM \(names.qualified("cleanup_start"))(cutoff, probes >= 3, dry_run) AS s;
          EXIT WHEN run.status <> 'probe';
          -- A run is recorded as running but holds no lock: either its session is gone, or it is between two batches
          -- at this instant. Three looks tell.
          probes := probes + 1;
          \(next)
          PERFORM pg_catalog.pg_sleep(0.05);
        END LOOP;
        run_id := run.run_id;
        RAISE DEBUG 'cleanup run % begins', run_id
          USING ERRCODE = \(literal: CleanupNotice.begin), DETAIL = pg_catalog.json_build_object('run_id', run_id)::text;

        <<work>>
        BEGIN
          EXIT work WHEN run.status <> 'running';

          \(SQL.joined(classLoops, separator: "\n\n"))

          -- What the steps above have freed goes in this run too. A fold that is at work may not have seen it: ask until it
          -- has ended, but not for ever. A session that folds and leaves its transaction open must not stop the cleanups.
          fold_deadline := least(run.deadline, pg_catalog.clock_timestamp() + interval '10 minutes');
          LOOP
            \(next)
            IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
              EXIT work;
            END IF;
            SELECT f.* INTO batch FROM \(names.qualified("cleanup_fold"))() AS f;
            EXIT WHEN batch.outcome = 'done';
            IF batch.outcome = 'failed' THEN
              result := 'failed';
              problem := batch.failure;
              problem_state := batch.failure_state;
              EXIT work;
            END IF;
            IF pg_catalog.clock_timestamp() >= fold_deadline THEN
              result := 'partial';
              problem := batch.failure;
              EXIT work;
            END IF;
            PERFORM pg_catalog.pg_sleep(0.05);
          END LOOP;

          \(loop(blobs.plural, next: next))

          \(loop(purge, cutoff: "NULL", next: next))
        END work;

        IF run.status = 'running' THEN
          \(next)
        END IF;
        SELECT f.* INTO finished FROM \(names.qualified("cleanup_finish"))(run_id, result, problem) AS f;
        status := finished.status;
        \(SQL.joined(results, separator: "\n"))
        IF status = 'failed' OR status = 'refused' AND real THEN
          \(next)
          RAISE EXCEPTION 'cleanup run % %: %', run_id, status, finished.error
            USING ERRCODE = coalesce(problem_state, 'object_not_in_prerequisite_state'),
              HINT = CASE WHEN status = 'refused' THEN \(literal: refusalRemedy) ELSE '' END
                || \(literal: "The run is recorded in \(runs.quoted).");
        END IF;
      END
      """
    return """
      CREATE OR REPLACE PROCEDURE \(procedure)(
        IN cutoff timestamptz DEFAULT NULL, IN dry_run boolean DEFAULT NULL,
        INOUT run_id bigint DEFAULT NULL, INOUT status text DEFAULT NULL,
        \(SQL.joined(outputs))
      )
      LANGUAGE plpgsql
      AS \(body.dollarQuoted());
      COMMENT ON PROCEDURE \(procedure)(timestamptz, boolean, bigint, text\(SQL.joined(countColumns.map { _ in ", bigint" }, separator: ""))) IS 'Deletes what has expired. cutoff NULL: the windows of the policy; dry_run NULL: the policy''s. Can be stopped at any point and started again.';
      \(revoke("PROCEDURE", "\(procedure)(timestamptz, boolean, bigint, text\(SQL.joined(countColumns.map { _ in ", bigint" }, separator: "")))"))
      """
  }

  /// The loop over the batches of one class.
  ///
  /// - Parameter cutoff: default: that of the class.
  func loop(_ name: String, cutoff: SQL? = nil, next: SQL) -> SQL {
    let cutoff = cutoff ?? "run.\(window(name))"
    let time = Identifier("\(name)_time")
    let key = Identifier("\(name)_key")
    return """
      -- \(comment: name)
      attempts := 0;
      LOOP
        \(next)
        IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
          EXIT work;
        END IF;
        IF pg_catalog.clock_timestamp() >= run.deadline THEN
          result := 'partial';
          problem := 'max_duration is over';
          EXIT work;
        END IF;
        pause_end := pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => run.batch_pause);
        WHILE pg_catalog.clock_timestamp() < pause_end LOOP
          -- In slices: who ends the run does not wait for the end of a pause.
          PERFORM pg_catalog.pg_sleep(least(1, extract(epoch FROM pause_end - pg_catalog.clock_timestamp())));
          \(next)
          IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
            EXIT work;
          END IF;
        END LOOP;
        SELECT b.* INTO batch FROM \(batchName(name))(run_id, \(cutoff), run.batch_size, \(time), \(key)) AS b;
        EXIT WHEN batch.outcome = 'done';
        IF batch.outcome = 'failed' THEN
          result := 'failed';
          problem := batch.failure;
          problem_state := batch.failure_state;
          EXIT work;
        END IF;
        IF batch.outcome = 'retry' THEN
          attempts := attempts + 1;
          CONTINUE WHEN attempts < 3;
          -- After three attempts this batch waits for the next run; where its end is unknown, so does the whole class.
          result := 'partial';
          problem := pg_catalog.format('a batch of %s was skipped: %s', \(literal: name), batch.failure);
          EXIT WHEN batch.after_key IS NOT DISTINCT FROM \(key);
        END IF;
        attempts := 0;
        \(time) := batch.after_time;
        \(key) := batch.after_key;
      END LOOP;
      """
  }
}
