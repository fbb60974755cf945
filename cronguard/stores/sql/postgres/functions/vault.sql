-- Secrets in Supabase Vault: only names that begin with cronguard_, only for service_role and the
-- owner. plpgsql looks at vault's objects when it runs, so this loads where Vault is absent.
--
-- What they raise is in checks.sql. Vault itself raises 22000 for what is CG021 and CG023 here, and
-- 22021 or 22023 for a damaged row.

-- The name in a request, if it may be reached and there is a Vault at all.
-- since version 2
create or replace function public.cronguard_secret_name(request jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
    if to_regclass('vault.decrypted_secrets') is null then
        raise exception 'Vault is not enabled in this database' using errcode = 'CG004';
    end if;
    if coalesce(request ->> 'name', '') !~ '^cronguard_[A-Za-z0-9_.:-]{1,180}$' then
        raise exception 'only secrets whose names begin with cronguard_ can be reached'
            using errcode = 'CG005';
    end if;
    return request ->> 'name';
end $$;

-- {"value": the secret, null if there is none}. One row by its name: a row under an old root key
-- would break a read of all of them.
-- since version 2
create or replace function public.cronguard_secret_get(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _secret text;
begin
    select decrypted_secret into _secret from vault.decrypted_secrets where name = _name;
    return jsonb_build_object('value', _secret);
exception when data_exception then
    raise exception 'this secret cannot be decrypted' using errcode = 'CG021';
end $$;

-- create_secret writes the plaintext to the heap and the write-ahead log before it encrypts;
-- update_secret does not. So a placeholder is created, and then updated. update_secret decrypts the
-- old value first: one that it cannot decrypt is deleted, and made anew with its description.
-- since version 2
create or replace function public.cronguard_secret_put(key text, about text, value text)
returns void
language plpgsql set search_path = ''
as $$
declare
    _id uuid;
    _about text;
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || key));
    select id, description into _id, _about from vault.secrets where name = key;
    if found then
        begin
            perform vault.update_secret(_id, value);
            return;
        exception when data_exception then
            delete from vault.secrets where id = _id;
        end;
    end if;
    _id := vault.create_secret('placeholder', key, coalesce(_about, about));
    perform vault.update_secret(_id, value);
exception when data_exception then
    raise exception 'Vault cannot encrypt' using errcode = 'CG023';
end $$;

-- A server may log what it is asked (log_statement, log_min_duration_statement), but not what it
-- answers. So a secret of "length" bytes is not sent: its exclusive or with random bytes is, which
-- are answered here and kept in Vault until then. {"ticket", "pad": hexadecimal}
-- since version 2
create or replace function public.cronguard_secret_pad(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
declare
    _ticket constant uuid := gen_random_uuid();
    _request constant jsonb
        := public.cronguard_checked_request(request, '{"length": ["length"]}');
    _length constant integer := (_request ->> 'length')::integer;
    _pad text;
begin
    perform public.cronguard_secret_name(request);
    delete from vault.secrets
    where starts_with(name, 'cronguard pad ') and created_at < now() - interval '1 hour';
    select left(string_agg(
        encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), ''
    ), 2 * _length)
    into _pad from generate_series(0, _length / 32);
    perform public.cronguard_secret_put('cronguard pad ' || _ticket, 'on its way', _pad);
    return jsonb_build_object('ticket', _ticket, 'pad', _pad);
end $$;

-- "masked": what cronguard_secret_pad says is sent, hexadecimal.
-- since version 2
create or replace function public.cronguard_secret_set(request jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
    _request constant jsonb
        := public.cronguard_checked_request(request, '{"ticket": ["id"], "masked": ["masked"]}');
    _ticket constant text := 'cronguard pad ' || (_request ->> 'ticket');
    _masked constant bytea := decode(_request ->> 'masked', 'hex');
    _pad bytea;
    _plain bytea;
    _value text;
begin
    begin
        select decode(decrypted_secret, 'hex') into _pad
            from vault.decrypted_secrets where name = _ticket;
    exception when data_exception then
        _pad := null; -- the root key changed since
    end;
    if _pad is null then
        raise exception 'there is no such ticket' using errcode = 'CG022';
    elsif length(_masked) is distinct from length(_pad) then
        perform public.cronguard_refuse('masked', 'of the length announced');
    end if;
    delete from vault.secrets where name = _ticket;
    select coalesce(string_agg(
        set_byte('\x00', 0, get_byte(_masked, place) # get_byte(_pad, place)), '' order by place
    ), '')
    into _plain from generate_series(0, length(_pad) - 1) as place;
    begin
        _value := convert_from(_plain, 'UTF8');
    exception when character_not_in_repertoire then
        perform public.cronguard_refuse('masked', 'a text in UTF-8');
    end;
    perform public.cronguard_secret_put(_name, 'a secret of cronguard''s', _value);
end $$;

-- False if there was none.
-- since version 2
create or replace function public.cronguard_secret_unset(request jsonb) returns boolean
language plpgsql set search_path = ''
as $$
declare
    _name constant text := public.cronguard_secret_name(request);
begin
    perform pg_advisory_xact_lock(hashtext('cronguard secret ' || _name)); -- as who sets it
    delete from vault.secrets where name = _name;
    return found;
end $$;

-- Names and dates only.
-- since version 2
create or replace function public.cronguard_secrets(request jsonb) returns jsonb
language plpgsql set search_path = ''
as $$
begin
    perform public.cronguard_expect(request);
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
