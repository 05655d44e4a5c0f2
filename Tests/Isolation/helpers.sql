-- What the specs share, installed beside the generated files. Nothing here changes or wraps what is tested.

-- Rows have readable names: id('p') is the key of the package that the specs call p.
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(name)::uuid $$;

-- Empties every table but the policy, and makes the service s, which refers to nothing. The role replica fires no trigger:
-- TRUNCATE, which would do as well, takes far longer on tables as small as these.
CREATE PROCEDURE reset() LANGUAGE plpgsql SET session_replication_role = replica AS $$
DECLARE
  emptied regclass;
BEGIN
  FOR emptied IN
    SELECT c.oid FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
      AND c.relname NOT IN ('jam_retention_policy', 'files')
  LOOP
    EXECUTE format('DELETE FROM %s', emptied);
  END LOOP;
  PERFORM setval('jam_cleanup_runs_id_seq', 1, false);
  PERFORM setval('jam_blob_uploads_id_seq', 1, false);
  INSERT INTO jam_services (id, owner, code_hash) VALUES (id('s'), '', '');
END
$$;

-- Folds what the setup has written, so that a permutation starts from stored counts and an empty ledger. A fold needs
-- READ COMMITTED, whatever the level of the run.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
BEGIN
  COMMIT;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  PERFORM jam_fold_references();
END
$$;

-- A trigger of the application's own that stops a statement in its middle, as long as a session holds advisory lock 1, and
-- however long that is.
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1);
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

-- The text of a generated file, so that a step can apply it again inside a transaction of its own: without the statement
-- before its BEGIN, in which the session waits for other installers, and without giving back what that has locked.
CREATE TABLE files (name text PRIMARY KEY, content text NOT NULL);

CREATE PROCEDURE apply(name text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE (
    SELECT regexp_replace(f.content, '^.*\nBEGIN( ISOLATION LEVEL READ COMMITTED)?;\n|  PERFORM pg_catalog.pg_advisory_unlock\(\d+\);\n|\nCOMMIT;\s*$', '', 'g')
    FROM files AS f
    WHERE f.name = apply.name
  );
END
$$;
