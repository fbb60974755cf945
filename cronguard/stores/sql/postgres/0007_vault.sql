-- Secrets in Supabase Vault: only names that begin with cronguard_, only for service_role and the
-- owner. plpgsql looks at vault's objects when it runs, so this loads where Vault is absent.

create or replace function public.cronguard_secret_name(request jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if to_regclass('vault.decrypted_secrets') is null then
        raise exception 'Vault is not enabled in this database' using errcode = 'CG004';
    end if;
    if request ->> 'name' !~ '^cronguard_[A-Za-z0-9_.:-]{1,180}$' then
        raise exception 'only secrets whose names begin with cronguard_ can be reached'
            using errcode = 'CG005';
    end if;
    return request ->> 'name';
end $$;

-- {"value": the secret, null if there is none}. One row by its name: a row under an old root key would break
-- a read of all of them.
create or replace function public.cronguard_secret_get(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _secret text;
begin
    select decrypted_secret into _secret from vault.decrypted_secrets where name = _name;
    return jsonb_build_object('value', _secret);
end $$;

-- create_secret writes the plaintext to the heap and the write-ahead log before it encrypts;
-- update_secret does not. So a placeholder is created, and then updated.
create or replace function public.cronguard_secret_set(request jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _id uuid;
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || _name));
    select id into _id from vault.secrets where name = _name;
    if not found then
        _id := vault.create_secret('placeholder', _name, 'a secret of cronguard''s');
    end if;
    perform vault.update_secret(_id, request ->> 'value');
end $$;

create or replace function public.cronguard_secret_unset(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
begin
    delete from vault.secrets where name = _name;
    return found;
end $$;

-- Names and dates only.
create or replace function public.cronguard_secrets(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_secret_name('{"name": "cronguard_any"}');
    return coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', name,
            'created_at', public.cronguard_rfc3339(created_at),
            'updated_at', public.cronguard_rfc3339(updated_at)
        ) order by name)
        from vault.secrets where starts_with(name, 'cronguard_')
    ), '[]');
end $$;
