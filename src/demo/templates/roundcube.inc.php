<?php
$config['db_dsnw'] = 'sqlite:///@DIRECTORY@/roundcube.sqlite?mode=0600';
$config['imap_host'] = '@IMAP@';
$config['log_dir'] = '@DIRECTORY@/logs/';
$config['temp_dir'] = '@DIRECTORY@/temp/';
$config['des_key'] = '@KEY@';
$config['session_lifetime'] = @MINUTES@;
$config['product_name'] = 'Roundcube';
$config['plugins'] = [];
$config['skin'] = 'elastic';
$config['enable_spellcheck'] = false;
$config['enable_installer'] = false;
