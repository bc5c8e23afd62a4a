<?php

/**
 * Signs people in with the mail server's master user, under their own names.
 *
 * Keyward asks for "ana*keyward" with the master's password. Roundcube would make an account of that
 * name; this plugin takes the master's name off before Roundcube sees it, and puts it on again where
 * the mail server is asked. A name with the separator in it that names any other master is refused
 * without asking anybody. Whether the password is the master's, the mail server says.
 *
 * Put this directory into Roundcube's plugins/, and into config.inc.php:
 *
 *     $config['plugins'][] = 'keyward_master';
 *     $config['keyward_master_user'] = 'keyward';    // as in [backend.master] of Keyward
 *     $config['keyward_master_separator'] = '*';     // Dovecot's auth_master_user_separator
 */
class keyward_master extends rcube_plugin
{
    /** What stands between the two names, and the master's. */
    private $separator;
    private $master;

    /** Whether this very request signs somebody in with the master. */
    private $signing_in = false;

    public function init()
    {
        $config = rcmail::get_instance()->config;
        $this->separator = (string) $config->get('keyward_master_separator', '*');
        $this->master = (string) $config->get('keyward_master_user', '');
        if ($this->separator === '') {
            $this->separator = '*';
        }
        $this->add_hook('authenticate', [$this, 'authenticate']);
        $this->add_hook('login_after', [$this, 'login_after']);
        $this->add_hook('storage_connect', [$this, 'storage_connect']);
        $this->add_hook('smtp_connect', [$this, 'smtp_connect']);
    }

    public function authenticate($args)
    {
        $parts = explode($this->separator, (string) $args['user']);
        if (count($parts) === 1) {
            return $args;
        }
        // Compared as it came: Roundcube folds the case of the person's name only.
        if (count($parts) !== 2 || $parts[0] === '' || $this->master === '' || $parts[1] !== $this->master) {
            $args['abort'] = true;
            return $args;
        }
        $this->signing_in = true;
        $args['user'] = $parts[0];
        return $args;
    }

    /** The session is the new one by now, so what is noted here stays with it. */
    public function login_after($args)
    {
        if ($this->signing_in) {
            $_SESSION['keyward_master'] = true;
        }
        return $args;
    }

    public function storage_connect($args)
    {
        // When a connection is made again, Roundcube gives us the name that we made.
        if ($this->with_master() && strpos($args['user'], $this->separator) === false) {
            $args['user'] .= $this->separator . $this->master;
        }
        return $args;
    }

    /** Where mail is submitted under the person's own name and password, which is the master's here. */
    public function smtp_connect($args)
    {
        if ($this->with_master() && $args['smtp_user'] === '%u') {
            $args['smtp_user'] = '%u' . $this->separator . $this->master;
        }
        return $args;
    }

    private function with_master()
    {
        return $this->master !== '' && ($this->signing_in || !empty($_SESSION['keyward_master']));
    }
}
