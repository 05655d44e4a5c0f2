import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `026_totals.sql`: the counters that outlive the rows that they count.
  func totalsTable() -> Artefact {
    Artefact(
      path: "026_totals.sql",
      kind: .versioned,
      purpose: [
        "What cleanups have done since the installation, added up: counters of monitoring, which must not go back when old",
        "runs or anomalies are deleted. And indexes by which monitoring finds a run among many.",
      ],
      locks: ["SHARE on \(runs.quoted) while two indexes are built: a few milliseconds, it has a row a run"],
      lintException: .init(
        rules: ["require-concurrent-index-creation"],
        reason: ["The table has a row a run, and only cleanups write to it."]
      ),
      body: """
        CREATE TABLE IF NOT EXISTS \(totals) (
          counter text NOT NULL,
          value   bigint NOT NULL
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
        COMMENT ON TABLE \(totals) IS 'What cleanups and folds have done since the installation, whether or not their records are still there. The rows of a counter add up; without a key, so that nobody waits for another.';

        \(identifyByWholeRow(totals))

        CREATE INDEX IF NOT EXISTS \(names.identifier("cleanup_runs_running_idx")) ON \(runs) (started_at) WHERE status = 'running';
        COMMENT ON INDEX \(names.qualified("cleanup_runs_running_idx")) IS 'Monitoring: the run that is under way.';
        CREATE INDEX IF NOT EXISTS \(names.identifier("cleanup_runs_success_idx")) ON \(runs) (finished_at) WHERE status = 'completed' AND NOT dry_run;
        COMMENT ON INDEX \(names.qualified("cleanup_runs_success_idx")) IS 'Monitoring: the last run that was completed.';
        """
    )
  }

  var totals: QualifiedName { names.qualified("totals") }

  /// The statuses in which a run can have ended.
  var finalStatuses: [String] {
    ["completed", "partial", "skipped", "disabled", "refused", "failed", "interrupted"]
  }

  /// The columns of a run that are added up.
  private var totalledColumns: [String] { countColumns.map(\.name) + ["busy_rows", "batches"] }

  /// Adds what runs and anomalies tell to the totals, in the transaction that records them.
  var totalling: SQL {
    let add = names.qualified("add_to_totals")
    let ofRun = names.qualified("total_run")
    let ofAnomaly = names.qualified("total_anomaly")
    let counters = SQL.joined(totalledColumns.map { "\(literal: $0)" }, separator: ", ")
    let gains = totalledColumns.map { column -> SQL in
      "NEW.\(Identifier(column)) - coalesce(OLD.\(Identifier(column)), 0)"
    }
    let addBody: SQL = """
      WITH gained AS (
        SELECT g.counter, g.value FROM unnest(counters, gains) AS g (counter, value) WHERE g.value > 0
      ), free AS MATERIALIZED (
        SELECT t.ctid FROM \(totals) AS t WHERE t.counter IN (SELECT g.counter FROM gained AS g) FOR UPDATE SKIP LOCKED
      ), taken AS (
        DELETE FROM \(totals) AS t USING free AS f WHERE t.ctid = f.ctid RETURNING t.counter, t.value
      )
      INSERT INTO \(totals) (counter, value)
      SELECT s.counter, sum(s.value)
      FROM (SELECT g.counter, g.value FROM gained AS g UNION ALL SELECT t.counter, t.value FROM taken AS t) AS s
      GROUP BY s.counter
      """
    let runBody: SQL = """
      BEGIN
        PERFORM \(add)(
          ARRAY['runs_' || NEW.status, \(counters)],
          ARRAY[
            CASE WHEN NEW.status <> 'running' AND NEW.status IS DISTINCT FROM OLD.status THEN 1 ELSE 0 END,
            \(SQL.joined(gains))
          ]
        );
        RETURN NULL;
      END
      """
    let anomalyBody: SQL = """
      BEGIN
        PERFORM \(add)(ARRAY['anomalies'], ARRAY[(SELECT count(*) FROM gained)]);
        RETURN NULL;
      END
      """
    let rights: SQL = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    let sums = totalledColumns.map { column -> SQL in "(\(literal: column), r.\(Identifier(column)))" }
    return """
      \(lockTables([runs, anomalies], "'SHARE ROW EXCLUSIVE'"))

      CREATE OR REPLACE FUNCTION \(add)(counters text[], gains bigint[]) RETURNS void
      LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
      AS \(addBody.dollarQuoted());
      COMMENT ON FUNCTION \(add)(text[], bigint[]) IS 'Adds gains to the totals, in one row a counter as far as nobody else is adding to it. What would make a counter smaller is left out.';
      \(revoke("FUNCTION", "\(add)(text[], bigint[])"))

      CREATE OR REPLACE FUNCTION \(ofRun)() RETURNS trigger
      LANGUAGE plpgsql \(rights)
      AS \(runBody.dollarQuoted());
      COMMENT ON FUNCTION \(ofRun)() IS 'Adds what a cleanup has done since its last batch to the totals.';
      \(revoke("FUNCTION", "\(ofRun)()"))

      CREATE OR REPLACE FUNCTION \(ofAnomaly)() RETURNS trigger
      LANGUAGE plpgsql \(rights)
      AS \(anomalyBody.dollarQuoted());
      COMMENT ON FUNCTION \(ofAnomaly)() IS 'Adds new anomalies to the totals.';
      \(revoke("FUNCTION", "\(ofAnomaly)()"))

      CREATE OR REPLACE TRIGGER \(names.identifier("cleanup_runs_total"))
        AFTER INSERT OR UPDATE ON \(runs)
        FOR EACH ROW WHEN (NOT NEW.dry_run)
        EXECUTE FUNCTION \(ofRun)();
      CREATE OR REPLACE TRIGGER \(names.identifier("refcount_anomalies_total"))
        AFTER INSERT ON \(anomalies) REFERENCING NEW TABLE AS gained
        FOR EACH STATEMENT EXECUTE FUNCTION \(ofAnomaly)();

      -- What was recorded before the triggers came.
      INSERT INTO \(totals) (counter, value)
      SELECT f.counter, f.value
      FROM (
        SELECT 'runs_' || r.status AS counter, count(*) AS value
        FROM \(runs) AS r WHERE NOT r.dry_run AND r.status <> 'running' GROUP BY 1
        UNION ALL
        SELECT c.counter, sum(c.value)
        FROM \(runs) AS r
        CROSS JOIN LATERAL (VALUES
          \(SQL.joined(sums))
        ) AS c (counter, value)
        WHERE NOT r.dry_run
        GROUP BY 1
        UNION ALL
        SELECT 'anomalies', count(*) FROM \(anomalies)
      ) AS f
      WHERE f.value > 0 AND NOT EXISTS (SELECT FROM \(totals));
      """
  }
}
