<?php
// Mints tickets for Keyward, which lets a portal's people into the applications behind it. Copy this file
// into the portal; it needs PHP 8.0 and its openssl extension, and nothing else.
declare(strict_types=1);

namespace Keyward;

use InvalidArgumentException;
use SensitiveParameter;

/** A new name for a session, which nobody can guess. Every sign-in gets one of its own. */
function new_session_id(): string
{
    return bin2hex(random_bytes(16));
}

/**
 * The ticket that the browser brings from now on, as the value of the portal's cookie.
 *
 * $secret is the one of the portal's [[portal.key]] with the id $keyId, as it is written there: text,
 * base64:… or hex:…. Times are Unix seconds. $password, where the applications want one, is sealed.
 *
 * @param string[] $roles
 * @throws InvalidArgumentException for what Keyward would not accept
 */
function mint_ticket(
    string $keyId,
    #[SensitiveParameter]
    string $secret,
    string $sid,
    string $sub,
    int $iat,
    int $exp,
    array $roles = [],
    string $name = '',
    string $email = '',
    #[SensitiveParameter]
    ?string $password = null,
): string {
    check(preg_match('/^[A-Za-z0-9_-]{1,64}$/D', $keyId) === 1, 'the key id has other characters than A-Z a-z 0-9 - _');
    check(preg_match('/^.{16,128}$/Dus', $sid) === 1, 'sid must have 16 to 128 characters');
    check_text('sid', $sid);
    check($sub !== '', 'sub is empty');
    check_text('sub', $sub);
    check_edges('sub', $sub);
    check_text('name', $name);
    check_text('email', $email);
    check_edges('email', $email);
    check(count($roles) <= 256, 'there are more than 256 roles');
    foreach ($roles as $role) {
        check(is_string($role) && $role !== '' && !str_contains($role, ','), 'a role is empty or holds a comma');
        check_text('a role', $role);
        check_edges('a role', $role);
    }
    check(0 <= $iat && $iat < $exp, 'exp must be later than iat');

    $material = key_material($secret);
    $payload = ['sid' => $sid, 'sub' => $sub, 'iat' => $iat, 'exp' => $exp];
    // Left out where there is none: null is no value of a ticket.
    $optional = ['roles' => array_values($roles), 'name' => $name, 'email' => $email];
    $payload += array_filter($optional, fn ($value) => $value !== '' && $value !== []);
    if ($password !== null) {
        $payload['cred'] = seal($material, $sid, $password);
    }
    $json = json_encode($payload, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
    $signed = "kw1.$keyId." . base64url($json);
    $ticket = $signed . '.' . base64url(hash_hmac('sha256', $signed, derive($material, 'keyward ticket mac v1'), true));
    check(strlen($ticket) <= 8192, 'the ticket is longer than 8 KiB');
    return $ticket;
}

/** The password, for nobody but Keyward, and for this session alone. */
function seal(string $material, string $sid, #[SensitiveParameter] string $password): string
{
    // An empty password is an anonymous sign-in at many servers, so Keyward takes none.
    check($password !== '' && preg_match('//u', $password) === 1, 'the password is empty or no UTF-8');
    $nonce = random_bytes(12);
    $key = derive($material, 'keyward ticket seal v1');
    $sealed = openssl_encrypt($password, 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $nonce, $tag, $sid, 16);
    check($sealed !== false, 'the password cannot be sealed');
    return base64url($nonce . $sealed . $tag);
}

function derive(string $material, string $purpose): string
{
    return hash_hkdf('sha256', $material, 32, $purpose, '');
}

function key_material(#[SensitiveParameter] string $secret): string
{
    $bytes = $secret;
    if (str_starts_with($secret, 'base64:')) {
        $text = trim(substr($secret, 7));
        $bytes = base64_decode($text, true);
        check($bytes !== false && base64_encode($bytes) === $text, 'the secret is not base64');
    } elseif (str_starts_with($secret, 'hex:')) {
        $text = trim(substr($secret, 4));
        check(preg_match('/^([0-9A-Fa-f]{2})*$/D', $text) === 1, 'the secret is not hexadecimal');
        $bytes = hex2bin($text);
    }
    check(strlen($bytes) >= 32, 'the secret must be at least 32 bytes long');
    return $bytes;
}

function check_text(string $what, string $text): void
{
    check(preg_match('//u', $text) === 1, "$what is no UTF-8");
    check(strlen($text) <= 512, "$what is longer than 512 bytes");
    check(!preg_match('/[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]/u', $text), "$what holds a control character");
}

function check_edges(string $what, string $text): void
{
    $blank = '[ \x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]';
    check(!preg_match("/^$blank|$blank\$/Du", $text), "$what begins or ends with a blank");
}

function check(bool $fine, string $otherwise): void
{
    if (!$fine) {
        throw new InvalidArgumentException($otherwise);
    }
}

function base64url(string $bytes): string
{
    return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
}

// For trying it out: each line of standard input is one ticket to make, written like the query of an address:
// key_id=2026a&secret=…&sid=…&sub=ana&iat=1767225600&exp=1767229200&role=staff&role=admin&name=…&email=…&password=…
if (PHP_SAPI === 'cli' && realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    while (($line = fgets(STDIN)) !== false) {
        $given = ['sid' => new_session_id(), 'sub' => '', 'roles' => []];
        foreach (explode('&', rtrim($line, "\n")) as $pair) {
            [$field, $value] = array_map('urldecode', explode('=', $pair, 2));
            match ($field) {
                'role' => $given['roles'][] = $value,
                'key_id' => $given['keyId'] = $value,
                'iat', 'exp' => $given[$field] = (int) $value,
                default => $given[$field] = $value,
            };
        }
        try {
            echo mint_ticket(...$given), "\n";
        } catch (InvalidArgumentException $refusal) {
            echo 'refused: ', $refusal->getMessage(), "\n";
        }
    }
}
