-- Once a template database: what a new Supabase project holds. Run by supabase_admin.
create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;
create extension pgcrypto with schema extensions;

grant usage on schema public to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;

-- A stand-in for supabase_vault 0.3.1: its objects, signatures, errors and grants, and its traps.
-- create_secret writes the plaintext into a row before it encrypts it, update_secret does not; but
-- update_secret decrypts the old value first, and fails where that cannot be done. The real root
-- key is the server's; this one can be another for a while: set stand_in.root_key.
create schema vault;

create function vault._stand_in_key(key_id bigint, context bytea) returns bytea
language sql stable set search_path = '' as $$
    select sha256(context || int8send(key_id) || convert_to(
        coalesce(nullif(current_setting('stand_in.root_key', true), ''), 'as installed'), 'utf8'
    ))
$$;

create function vault._crypto_aead_det_noncegen() returns bytea
language sql volatile set search_path = '' as $$ select extensions.gen_random_bytes(16) $$;

create function vault._crypto_aead_det_encrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium',
    nonce bytea default null
) returns bytea language plpgsql immutable security definer set search_path = '' as $$
declare
    _self constant text := 'pgsodium_crypto_aead_det_encrypt_by_id';
    _key constant bytea := vault._stand_in_key(key_id, context);
    _encrypted bytea;
begin
    if message is null then
        raise exception '%: message cannot be NULL', _self using errcode = '22000';
    elsif length(nonce) <> 16 then
        raise exception '%: invalid nonce', _self using errcode = '22000';
    end if;
    _encrypted := extensions.encrypt_iv(message, _key, coalesce(nonce, ''), 'aes');
    return _encrypted || extensions.hmac(
        coalesce(additional, '') || coalesce(nonce, '') || _encrypted, _key, 'sha256'
    );
end $$;

create function vault._crypto_aead_det_decrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium',
    nonce bytea default null
) returns bytea language plpgsql immutable security definer set search_path = '' as $$
declare
    _self constant text := 'pgsodium_crypto_aead_det_decrypt_by_id';
    _key constant bytea := vault._stand_in_key(key_id, context);
    _encrypted bytea;
begin
    if message is null then
        raise exception '%: message cannot be NULL', _self using errcode = '22000';
    elsif length(nonce) <> 16 then
        raise exception '%: invalid nonce', _self using errcode = '22000';
    elsif length(message) < 32 then
        raise exception '%: invalid message', _self using errcode = '22000';
    end if;
    _encrypted := substring(message for length(message) - 32);
    if substring(message from length(message) - 31) <> extensions.hmac(
        coalesce(additional, '') || coalesce(nonce, '') || _encrypted, _key, 'sha256'
    ) then
        raise exception '%: invalid ciphertext', _self using errcode = '22000';
    end if;
    return extensions.decrypt_iv(_encrypted, _key, coalesce(nonce, ''), 'aes');
end $$;

create table vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text,
    description text not null default '',
    secret text not null,
    key_id uuid,
    nonce bytea default vault._crypto_aead_det_noncegen(),
    created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create view vault.decrypted_secrets as
    select id, name, description, secret,
        convert_from(
            vault._crypto_aead_det_decrypt(
                decode(secret, 'base64'), convert_to(id::text, 'utf8'), 0, 'pgsodium', nonce
            ), 'utf8'
        ) as decrypted_secret,
        key_id, nonce, created_at, updated_at
    from vault.secrets;

create function vault._stand_in_encrypted(plain text, id uuid, nonce bytea) returns text
language sql set search_path = '' as $$
    select encode(vault._crypto_aead_det_encrypt(
        convert_to(plain, 'utf8'), convert_to(id::text, 'utf8'), 0, 'pgsodium', nonce
    ), 'base64')
$$;

create function vault.create_secret(
    new_secret text, new_name text default null, new_description text default '',
    new_key_id uuid default null
) returns uuid language plpgsql security definer set search_path = '' as $$
declare made vault.secrets;
begin
    insert into vault.secrets (secret, name, description)
        values (new_secret, new_name, new_description) returning * into made;
    update vault.secrets
        set secret = vault._stand_in_encrypted(new_secret, made.id, made.nonce)
        where id = made.id;
    return made.id;
end $$;

create function vault.update_secret(
    secret_id uuid, new_secret text default null, new_name text default null,
    new_description text default null, new_key_id uuid default null
) returns void language plpgsql security definer set search_path = '' as $$
begin
    perform d.decrypted_secret from vault.decrypted_secrets d where d.id = secret_id;
    update vault.secrets s set
        secret = case when new_secret is null then s.secret
            else vault._stand_in_encrypted(new_secret, s.id, s.nonce) end,
        name = coalesce(new_name, s.name),
        description = coalesce(new_description, s.description),
        updated_at = now()
    where s.id = secret_id;
end $$;

-- What Supabase grants after it creates the extension.
revoke all on all functions in schema vault from public;
grant usage on schema vault to postgres with grant option;
grant select, delete, truncate, references on vault.secrets, vault.decrypted_secrets
    to postgres with grant option;
grant execute on function
    vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
    to postgres with grant option;
grant usage on schema vault to service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
grant execute on function
    vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
    to service_role;
