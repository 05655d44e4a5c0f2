import RetentionModel
import SafeSQL

/// The begin and the end of a run, and its one place.
extension RetentionSchema {
  var startFunction: SQL {
    let function = names.qualified("cleanup_start")
    let windows = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      """
      \(window(name)) := coalesce(given_cutoff, now() - make_interval(days => coalesce(settings.\(Identifier("\(name)_retention_days")), settings.retention_days)));
      """
    }
    let outputs = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in "OUT \(window(name)) timestamptz" }
    let dryRunFigures = model.classes.flatMap { [$0.name] + $0.parts.map(\.name) } + [blobs.plural]
    func figure(_ name: String, _ column: SQL) -> SQL {
      "(SELECT f.\(column) FROM figures AS f WHERE f.data_class = \(literal: name))"
    }
    /// What the store loses: objects of blobs that are deleted without an archive, and of those that are purged.
    func givenUp(_ column: SQL) -> SQL {
      """
      CASE WHEN settings.archive_days > 0 THEN 0 ELSE \(figure(externalFigure, column)) END
        + (SELECT coalesce(sum(p.external_\(column)), 0) FROM (
          \(purgeable("now() - make_interval(days => settings.archive_days)"))
        ) AS p)
      """
    }
    let assignments = dryRunFigures.map { name -> SQL in
      "\(Identifier("deleted_\(name)")) = \(figure(name, "rows"))"
    }
    let tables =
      model.classes.flatMap { [($0.name, $0.table)] + $0.parts.map { ($0.name, $0.table) } } + [
        (blobs.plural, blobs.table)
      ]
    let shares = tables.map { name, table -> SQL in
      "SELECT \(literal: name)::text AS data_class, count(*) AS total FROM \(names.table(table))"
    }
    let body: SQL = """
      DECLARE
        settings \(policy);
        refusal  text;
      BEGIN
        IF given_cutoff > clock_timestamp() THEN
          RAISE EXCEPTION 'cutoff % is in the future', given_cutoff
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a moment that has passed; everything before it expires.';
        END IF;
        SELECT * INTO STRICT settings FROM \(policy);
        dry_run := coalesce(dry_run, settings.dry_run);
        batch_size := settings.batch_size;
        batch_pause := extract(epoch FROM settings.batch_pause)::double precision;
        deadline := coalesce(clock_timestamp() + settings.max_duration, 'infinity');
        \(SQL.joined(windows, separator: "\n"))

        status := CASE
          WHEN settings.retention_days <= 0 THEN 'disabled'
          WHEN dry_run THEN 'completed'
          WHEN NOT pg_try_advisory_xact_lock(\(lockNamespace), \(LockKey.cleanup)) THEN 'skipped'
          WHEN NOT take_over AND EXISTS (SELECT FROM \(runs) AS r WHERE r.status = 'running') THEN 'probe'
          ELSE 'running'
        END;
        IF status = 'probe' THEN
          RETURN;
        END IF;
        IF status = 'running' THEN
          UPDATE \(runs) AS r
          SET status = 'interrupted', finished_at = clock_timestamp(),
            error = coalesce(r.error, 'the session that ran it ended or was cancelled')
          WHERE r.status = 'running';
        END IF;

        IF status IN ('running', 'completed') THEN
          SELECT format('trigger %s of table %s is %s: references would be lost', t.trigger_name, t.table_name, t.state)
          INTO refusal
          FROM \(names.qualified("counting_triggers")) AS t
          WHERE t.state <> 'enabled'
          LIMIT 1;
          IF refusal IS NULL AND settings.max_delete_fraction IS NOT NULL THEN
            SELECT format('would delete %s of %s rows of %s, more than max_delete_fraction %s',
              f.rows, s.total, f.data_class, settings.max_delete_fraction)
            INTO refusal
            FROM \(names.qualified("cleanup_preview"))(given_cutoff) AS f
            JOIN (
              \(SQL.joined(shares, separator: "\nUNION ALL\n"))
            ) AS s ON s.data_class = f.data_class
            WHERE f.rows > s.total * settings.max_delete_fraction
            LIMIT 1;
          END IF;
          IF refusal IS NOT NULL THEN
            status := 'refused';
          END IF;
        END IF;

        INSERT INTO \(runs) (cutoff, dry_run, status, finished_at, error)
        VALUES (given_cutoff, dry_run, status, CASE WHEN status <> 'running' THEN clock_timestamp() END, refusal)
        RETURNING id INTO run_id;

        IF status = 'completed' THEN
          WITH figures AS MATERIALIZED (SELECT * FROM \(names.qualified("cleanup_preview"))(given_cutoff))
          UPDATE \(runs) AS r
          SET \(SQL.joined(assignments, separator: ",\n  ")),
            freed_bytes = \(figure(blobs.plural, "bytes"))
              - \(figure(archivedFigure, "bytes"))
              + \(figure(purgedFigure, "bytes")),
            external_blobs = \(givenUp("rows")),
            external_bytes = \(givenUp("bytes")),
            archived_rows = \(figure(archivedRowsFigure, "rows")),
            archived_bytes = \(figure(archivedFigure, "bytes")),
            purged_rows = \(figure(purgedRowsFigure, "rows")),
            purged_bytes = \(figure(purgedFigure, "bytes")),
            finished_at = clock_timestamp()
          WHERE r.id = run_id;
        END IF;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(
        IN given_cutoff timestamptz, IN take_over boolean, INOUT dry_run boolean, OUT run_id bigint, OUT status text,
        OUT batch_size integer, OUT batch_pause double precision, OUT deadline timestamptz,
        \(SQL.joined(outputs))
      )
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(timestamptz, boolean, boolean) IS 'Begins a run: checks, windows, the record. A dry run is finished when this returns.';
      \(revoke("FUNCTION", "\(function)(timestamptz, boolean, boolean)"))
      """
  }

  var holdFunction: SQL {
    let function = names.qualified("cleanup_hold")
    let body: SQL = """
      BEGIN
        PERFORM pg_advisory_xact_lock(\(lockNamespace), \(LockKey.cleanup));
        RETURN EXISTS (SELECT FROM \(runs) AS r WHERE r.id = run_id AND r.status = 'running');
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(run_id bigint) RETURNS boolean
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(bigint) IS 'Holds the one place of a cleanup until COMMIT; false if another run has taken over. A transaction''s lock, because a session''s would outlive a cancelled run.';
      \(revoke("FUNCTION", "\(function)(bigint)"))
      """
  }

  var finishFunction: SQL {
    let function = names.qualified("cleanup_finish")
    let body: SQL = """
        WITH ended AS (
          UPDATE \(runs) AS r
          SET status = $2, error = $3, finished_at = clock_timestamp()
          WHERE r.id = $1 AND r.status = 'running'
          RETURNING r.finished_at
        )
        \(recordStorageHistory(of: "ended"))
        SELECT * FROM \(runs) AS r WHERE r.id = $1
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(run_id bigint, status text, error text) RETURNS \(runs)
      LANGUAGE sql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(bigint, text, text) IS 'Ends a run that is still running and returns its record.';
      \(revoke("FUNCTION", "\(function)(bigint, text, text)"))
      """
  }
}
