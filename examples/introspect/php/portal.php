<?php
// A portal in one file. Try it with:
//   KEYWARD_SECRET=0011…eeff php -S 127.0.0.1:8080 portal.php
declare(strict_types=1);

const COOKIE_DOMAIN = 'example.test';            // the portal's host and the webmail's are both below it
const GO_ON_TO = ['webmail.example.test', 'intranet.example.test'];  // where people may be sent after signing in
const LIFETIME = 8 * 3600;

$secret = (string) getenv('KEYWARD_SECRET');
if (strlen($secret) < 32) {
    http_response_code(500);
    exit('set KEYWARD_SECRET, the same as in keyward.toml');
}
// A real portal has a database, and password_hash() in it.
$people = json_decode(file_get_contents(__DIR__ . '/../people.json'), true);

session_name('portal_session');
session_set_cookie_params([
    'domain' => COOKIE_DOMAIN, 'path' => '/', 'secure' => true, 'httponly' => true, 'samesite' => 'Lax',
]);
ini_set('session.use_strict_mode', '1');         // an id that we did not make is none
ini_set('session.gc_maxlifetime', (string) LIFETIME);

function signed_in(bool $read_only): bool
{
    session_start(['read_and_close' => $read_only]);
    return ($_SESSION['expires'] ?? 0) > time();
}

function page(string $content, int $status = 200): void
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    echo '<!doctype html><html lang="en"><title>Portal</title>', $content;
}

function go_on(string $next): void
{
    $host = parse_url($next, PHP_URL_HOST);
    $known = parse_url($next, PHP_URL_SCHEME) === 'https' && in_array($host, GO_ON_TO, true);
    header('Location: ' . ($known ? $next : '/'), true, 303);
}

function form(string $next, string $said = '', int $status = 200): void
{
    $next = htmlspecialchars($next);
    page("<p>$said</p><form method=post action=/login><input type=hidden name=next value=\"$next\">
        <label>User <input name=user autocomplete=username></label>
        <label>Password <input name=password type=password autocomplete=current-password></label>
        <button>Sign in</button></form>", $status);
}

function sign_in(array $people): void
{
    [$user, $password, $next] = array_map(fn ($name) => (string) ($_POST[$name] ?? ''), ['user', 'password', 'next']);
    if (!isset($people[$user]) || !hash_equals($people[$user]['password'], $password)) {
        form($next, 'That is not right.', 403);
        return;
    }
    session_start();
    session_regenerate_id(true);                 // a new id for every sign-in
    $_SESSION = ['user' => $user, 'sid' => bin2hex(random_bytes(16)), 'expires' => time() + LIFETIME];
    if (getenv('HAND_OVER_PASSWORD') === 'yes') {
        $_SESSION['password'] = $password;       // lies readable in session.save_path while the session lasts
    }
    go_on($next);
}

function sign_out(): void
{
    session_start();
    session_destroy();
    setcookie(session_name(), '', ['expires' => 1, 'path' => '/', 'domain' => COOKIE_DOMAIN]);
    header('Location: /login', true, 303);
}

// Whose session is this? For Keyward alone.
function introspect(string $secret, array $people): void
{
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    if (!hash_equals("Bearer $secret", $_SERVER['HTTP_AUTHORIZATION'] ?? '')) {
        http_response_code(403);                 // not 200: whoever guesses learns nothing of anybody
        return;
    }
    if (!isset($_COOKIE[session_name()]) || !signed_in(true) || !isset($people[$_SESSION['user']])) {
        echo '{"active": false}';
        return;
    }
    $person = $people[$_SESSION['user']];
    unset($person['password']);
    $session = ['username' => $_SESSION['user'], 'sid' => $_SESSION['sid'], 'exp' => $_SESSION['expires']];
    if (isset($_SESSION['password'])) {
        $session['password'] = $_SESSION['password'];
    }
    echo json_encode(['active' => true] + $session + $person, JSON_THROW_ON_ERROR);
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
match ($_SERVER['REQUEST_METHOD'] . ' ' . $path) {
    'GET /session' => introspect($secret, $people),
    'GET /login' => signed_in(true) ? go_on((string) ($_GET['next'] ?? '')) : form((string) ($_GET['next'] ?? '')),
    'POST /login' => sign_in($people),
    'POST /logout' => sign_out(),                // SameSite=Lax keeps other sites' forms from it
    'GET /' => signed_in(true)
        ? page('Signed in as ' . htmlspecialchars($_SESSION['user']) . '<form method=post action=/logout><button>Sign out')
        : form(''),
    default => page('Not here.', 404),
};
